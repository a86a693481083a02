"""The documents are true: what they show runs, what they name is there."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import textwrap

import pytest

from harness import documents
from harness.admin import Admin
from harness.daemon import ROOT, build_folder, program, upswapd
from harness.waiting import PATIENCE, wait_until

# ---- the examples of uptests(7) ----


def start_page(connection, request):
    request.read_body(connection)
    connection.answer(b"welcome\n")


def to_login(connection, request):
    request.read_body(connection)
    connection.answer(b"", "302 Found", ["Location: /login"])


def broken(connection, request):
    request.read_body(connection)
    connection.answer(b"no\n", "500 Internal Server Error")


def mute(connection, request):
    request.read_body(connection)
    connection.close()


@pytest.fixture(name="examples", scope="module")
def fixture_examples(tmp_path_factory):
    """The examples that are programs: their files by language, the one in C compiled as the page says."""
    folder = tmp_path_factory.mktemp("examples")
    found = {}
    for text in documents.man_examples("uptests.7"):
        for language, begin in (("shell", "#!/bin/sh\n"), ("python", "#!/usr/bin/python3\n"), ("c", "#include <")):
            if text.startswith(begin):
                assert language not in found
                found[language] = folder / language
                found[language].write_text(text)
    assert set(found) == {"shell", "python", "c"}
    source = folder / "source.c"
    found["c"].rename(source)
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-o", found["c"], source], check=True)
    for path in found.values():
        path.chmod(0o755)
    return found


@pytest.fixture(name="bench")
def fixture_bench(make_stand, examples):
    """A stand with these three as its suite, and an app that they are content with."""
    stand = make_stand(service={"hosts": ["app.test"]})
    for language, path in examples.items():
        os.symlink(path, os.path.join(stand.suite.folder, language))
    app = stand.live[0]
    app.on("/", start_page)
    app.on("/account", to_login)
    return stand.start()


def failed(results):
    return {result["Name"]: result["Output"] for result in results if not result["Passed"]}


def test_the_examples_of_uptests_7_pass_an_app_that_is_in_order(bench):
    assert failed(bench.run()) == {}
    hosts = [request.get("host") for request in bench.live[0].requests]
    assert hosts == ["app.test"] * 3


def test_the_examples_of_uptests_7_reach_an_ipv6_instance(bench, make_backend):
    app = make_backend(host="::1")
    app.on("/account", to_login)
    assert failed(bench.run(app)) == {}


@pytest.mark.parametrize("way", [broken, mute])
def test_the_examples_of_uptests_7_fail_an_app_that_is_not(bench, way):
    bench.live[0].on("/", way)
    bench.live[0].on("/account", way)
    found = failed(bench.run())
    assert set(found) == {"shell", "python", "c"} and all(found.values()), found


def test_the_example_in_python_fails_an_app_that_lets_everybody_in(bench):
    bench.live[0].on("/account", start_page)
    assert "expected a redirect to /login" in failed(bench.run())["python"]


# ---- the pages whose commands are run ----


def free_port():
    """One that no outgoing connection takes meanwhile, as it could one above. What a page starts takes the ports behind it, so
    processes that run pages beside each other, whose numbers are close, look far from each other."""
    for port in range(24000 + os.getpid() % 250 * 32, 32768):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no port is free")


# Where `make install` puts what the pages use, and where it is in the source.
INSTALLED = {
    "/usr/local/share/doc/upswap/launch": os.path.join(ROOT, "doc", "launch"),
    "/usr/local/share/doc/upswap/example": os.path.join(ROOT, "conf", "example"),
}


@pytest.fixture(name="session")
def fixture_session():
    home = tempfile.mkdtemp(prefix="upswap-")
    os.chmod(home, 0o755)
    port = free_port()
    made = documents.Session(home, {**INSTALLED, "127.0.0.1:9080": "127.0.0.1:0", "8080": str(port), "5000": str(port + 1)})
    yield made
    made.close()
    shutil.rmtree(home)


def is_at_rest(admin):
    """A reader is slow: the daemon that was started serves, and the deployment that goes on waits for something."""
    try:
        deployments = [service["deployment"] for service in admin.status()["services"]]
    except OSError:
        return False
    return all(each is None or each["state"] in ("held", "watching") for each in deployments)


def run_page(session, *names, folder):
    """Runs the commands of a page, and holds what it shows to what they print."""
    admin = Admin(os.path.join(session.home, folder, "admin.sock"))
    runs = False
    for block in documents.blocks(*names):
        if not block.is_run:
            continue
        printed = session.run(block)
        line = documents.missing(block.shown, printed)
        assert line is None, f"{line!r} was not printed by\n{block.commands}\nbut this:\n{printed}"
        runs = (runs and "kill %1" not in block.commands) or "upswapd -c" in block.commands
        if runs:
            wait_until(lambda: is_at_rest(admin), what="the daemon to be at rest")


def test_the_guide_works_from_the_first_line_to_the_last(session):
    run_page(session, "doc", "guide.md", folder="first")


def test_a_daemon_that_the_guide_starts_is_waited_for_by_who_pastes_all_at_once():
    starts = [block.commands for block in documents.blocks("doc", "guide.md") if re.search("^upswapd -c .*&$", block.commands, re.M)]
    assert len(starts) == 2 and all(start.endswith("until [ -S admin.sock ]; do sleep 0.1; done\n") for start in starts)


def test_the_guide_leaves_out_the_installation_alone():
    left_out = [block.commands for block in documents.blocks("doc", "guide.md") if not block.is_run]
    assert len(left_out) == 1
    tested = documents.read("scripts", "test")
    for step in ("scripts/packages build", "autoreconf -fi", "/configure", "make", "install"):
        assert step in left_out[0] and step in tested


def test_the_recipes_work(session):
    run_page(session, "doc", "recipes.md", folder="shop")


def test_the_recipes_leave_out_what_needs_systemd_or_docker_alone():
    for block in documents.blocks("doc", "recipes.md"):
        assert block.is_run or re.search("systemctl|docker", block.commands), block.commands


# What a machine of tests does not have: it notes what it is asked for, and knows what that must find.
SYSTEMCTL = """#!/bin/bash
echo "systemctl $*" >>CALLS
case "$*" in daemon-reload | "enable --now upswapd.socket" | "start upswapd.service" | "stop upswapd.service") ;; *) exit 64 ;; esac
"""
DOCKER = """#!/bin/bash
echo "docker $1" >>CALLS
[ "$1" = build ] || exit 0
case "$*" in *" -f "*) [ -e "$3" ] ;; *) [ -e "${!#}/Dockerfile" ] ;; esac
"""
UPSWAP = """#!/bin/bash
echo "upswap $*" >>CALLS
"""


def put_stand_in(session, name, text):
    path = os.path.join(session.home, "bin", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("CALLS", os.path.join(session.home, "calls")))
    os.chmod(path, 0o755)


def test_what_the_recipes_do_with_systemd_and_docker_is_in_order(session, tmp_path):
    """Their files are where they say, and systemd understands what they write."""
    units, programs = os.path.join(session.home, "units"), os.path.join(session.home, "lib")
    session.given |= {"/etc/systemd/system": units, "/usr/local/lib/web": programs}
    for name, text in (("systemctl", SYSTEMCTL), ("docker", DOCKER), ("upswap", UPSWAP)):
        put_stand_in(session, name, text)
    session.run(documents.Block("sh", f"PATH=~/bin:$PATH; mkdir ~/web {units}; touch ~/web/Dockerfile"))
    left_out = [block for block in documents.blocks("doc", "recipes.md") if not block.is_run]
    assert len(left_out) == 4
    for block in left_out:
        session.run(documents.Block("sh", f"cd {ROOT}"))
        session.run(block)
    assert sorted(os.listdir(programs)) == ["run", "start", "stop"]
    with open(os.path.join(session.home, "calls"), encoding="utf-8") as file:
        calls = file.read().splitlines()
    assert {"docker build", "docker run", "systemctl enable --now upswapd.socket"} <= set(calls)
    for call in calls:
        if call.startswith("upswap "):
            assert_command(call)
    shutil.copytree(units, tmp_path, dirs_exist_ok=True)
    shutil.copy(os.path.join(ROOT, "conf", "upswapd.socket"), tmp_path)
    (tmp_path / "upswapd.service").write_text("[Service]\nExecStart=/bin/true\n")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "upswapd.socket"],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_first_deployment_of_the_readme_works(session):
    shown = re.search(r"\nA first deployment by hand\n-+\n((?: {4}.*\n)+)", documents.read("README"))[1]
    install, rest = textwrap.dedent(shown).split("\n", 1)
    assert install.endswith("make install")
    start, daemon, deploy = re.split(r"^(upswapd -c .*\n)", rest, flags=re.M)
    session.given["/tmp/up"] = os.path.join(session.home, "up")
    session.run(documents.Block("sh", start + daemon))
    admin = Admin(os.path.join(session.home, "up", "admin.sock"))
    wait_until(lambda: is_at_rest(admin), what="the daemon to be at rest")
    printed = session.run(documents.Block("sh", deploy))
    assert documents.missing("web: web-1 is live\n01_alive\nweb: web-2 is live\nweb-2 ... live", printed) is None, printed


def test_the_examples_of_upswap_1_work(bench, make_app):
    """Its instances are elsewhere; these are as good, and are in order, so that each command ends with 0."""
    bench.suite.clear()
    bench.suite.shell("01_pass")
    blocks = documents.man_examples("upswap.1")
    assert any("--hold" in block and "promote" in block for block in blocks)
    programs = f"{build_folder()}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "UPSWAP_SOCKET": bench.daemon.socket}
    for block in blocks:
        for address in set(re.findall(r"10\.0\.0\.\d+:\d+", block)):
            block = block.replace(address, make_app("v42").address)
        subprocess.run(["bash", "-euc", block], env=environment, check=True, capture_output=True, timeout=4 * PATIENCE)

    def states():
        return [each["state"] for each in bench.admin.history()]

    wait_until(lambda: states() == ["done"] * len(blocks), what="a deployment that ended well for each example")


# ---- the pages that name what is there ----


def test_every_file_and_test_that_promises_md_names_is_there():
    text = documents.read("doc", "promises.md")
    named = re.findall(r"`((?:src|tests|doc|scripts)/[^`:]+)(?:::(\w+))?`", text)
    assert sum(bool(test) for _, test in named) > 30
    for path, test in named:
        assert os.path.exists(os.path.join(ROOT, path)), path
        if test:
            begin = "def" if path.endswith(".py") else "static void"
            assert f"\n{begin} {test}(" in documents.read(path), f"{path} has no {test}"


def test_promises_md_has_each_promise_and_a_test_for_it():
    parts = documents.read("doc", "promises.md").split("\n## ")[1:]
    assert [part.split(".")[0] for part in parts] == [str(number) for number in range(1, 10)]
    for part in parts:
        assert "\n- `tests/" in part and "`src/" in part, part


def words_of_client(*arguments):
    return subprocess.run(
        [program("upswap"), "--words", *arguments], capture_output=True, text=True, check=True
    ).stdout.split()


def assert_command(text):
    """ "upswap stage --canary 5,25": the client has the command and the options."""
    command, *rest = text.split()[1:]
    assert command in words_of_client(), text
    for option in [word for word in rest if word.startswith("--")]:
        assert option in words_of_client(command), text


def assert_key(text, page, folder):
    """ "health.path" or "balance = "random"": the page has an entry for the key, and a service may have the value."""
    key, _, value = text.partition(" = ")
    assert f"\n.It Ic {key}\n" in page, text
    if value:
        service = f'listeners = ( {{ address = "127.0.0.1:0"; }} ); services = ( {{ name = "web"; {text}; }} );'
        (folder / "upswapd.conf").write_text(service)
        result = upswapd("-t", "-c", str(folder / "upswapd.conf"))
        assert result.returncode == 0, result


def named_here():
    """What stands in the last column of each row."""
    rows = [line for line in documents.read("doc", "from-haproxy-nginx-kamal.md").splitlines() if line.startswith("| ")]
    assert len(rows) > 60
    return [name for row in rows for name in re.findall("`([^`]+)`", row.split(" | ")[-1])]


def test_every_key_and_command_that_the_page_for_newcomers_names_is_there(tmp_path):
    page = documents.read("doc", "upswapd.conf.5")
    for name in named_here():
        if name.startswith("upswap "):
            assert_command(name)
        elif not name.startswith(("upswapd -t", "127.0.0.1:", "*.")):
            assert_key(name, page, tmp_path)


def test_the_service_for_acme_on_that_page_is_taken(tmp_path):
    block = re.search("```\n(.*?)```", documents.read("doc", "from-haproxy-nginx-kamal.md"), re.S).group(1)
    services = f'services = (\n{block}, {{ name = "rest"; redirect_https = true; }} );'
    (tmp_path / "upswapd.conf").write_text(f'listeners = ( {{ address = "127.0.0.1:0"; }} );\n{services}\n')
    result = upswapd("-t", "-c", str(tmp_path / "upswapd.conf"))
    assert result.returncode == 0, result


def walks():
    """The parts of CONTRIBUTING.md that lead through the code: a paragraph or an item each."""
    text = documents.read("CONTRIBUTING.md")
    return re.split(r"\n\n|\n(?=\d\. |- )", text[text.index("## Layout") :])


def test_contributing_md_leads_through_files_and_names_that_are_there():
    names = 0
    for part in walks():
        quoted = re.findall("`([^`]+)`", part)
        paths = [name for name in quoted if name.split("/")[0] in ("src", "tests", "doc", "conf", "scripts")]
        missing = [path for path in paths if not os.path.exists(os.path.join(ROOT, path))]
        assert not missing, missing
        text = "".join(documents.read(path) for path in paths if os.path.isfile(os.path.join(ROOT, path)))
        if not paths or part.startswith("- "):
            continue
        for name in set(quoted) - set(paths):
            names += 1
            assert re.search(rf"\b{re.escape(name.removesuffix('()'))}\b", text), f"{name} is not in {paths}"
    assert names > 30


# ---- no document is forgotten ----


def files_below(folder, *endings):
    return [
        os.path.relpath(os.path.join(at, name), ROOT)
        for at, _, names in os.walk(os.path.join(ROOT, folder))
        for name in names
        if name.endswith(endings)
    ]


def test_the_readme_leads_to_every_document():
    readme = documents.read("README")
    pages = files_below("doc", ".md", ".1", ".5", ".7", ".8")
    assert len(pages) > 15
    for page in pages:
        name, _, section = os.path.basename(page).rpartition(".")
        wanted = f"{name}({section})" if section != "md" else page.replace("doc/internals/" + name + ".md", "doc/internals/")
        assert wanted in readme, f"README does not name {wanted}"


def test_every_document_is_in_the_tarball():
    lists = "".join(documents.read(*path) for path in (("doc", "doc.am"), ("conf", "conf.am")))
    for page in files_below("doc", ".md", ".1", ".5", ".7", ".8") + files_below("conf", ".conf", ".in", ".socket", "file", ".logrotate"):
        folder = os.path.dirname(page)
        named = [page, folder] if "/" in folder else [page]
        assert any(re.search(rf"\s{re.escape(name)}(\s|$)", lists) for name in named), f"neither doc.am nor conf.am has {page}"
