"""Wrong configs: the fault as FILE:LINE: sentence, at -t, at the start and at a reload, and nothing changed."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from harness import processes
from harness.backend import Backend, Held
from harness.client import ask
from harness.config import config_text
from harness.daemon import program, upswapd
from harness.waiting import wait_until

# name: (a service's or the top level's lines, a pattern of the sentence); FAULT marks the faulty line
GOOD = """state_directory = "{folder}/state";
admin = {{ socket = "{folder}/admin.sock"; }};
listeners = ( {{ address = "127.0.0.1:0"; }} );
services = ( {{
  name = "web";
  instances = [ "127.0.0.1:8001" ];
}} );
"""

TOP = {
    "an_unknown_key": ('stat_directory = "/x";', "stat_directory.*state_directory"),
    "a_wrong_type": ('workers = "four";', "workers"),
    "a_number_out_of_range": ("workers = 100000;", "workers"),
    "a_negative_number": ("workers = -1;", "workers"),
    "a_syntax_error": ("workers = ;", "syntax"),
    "an_unknown_group_key": ("limits = { heads = 1; };", "heads"),
    "a_duration_without_unit": ('defaults = { ready_timeout = "10"; };', "10"),
    "a_duration_that_is_a_number": ("defaults = { ready_timeout = 10; };", "ready_timeout"),
    "a_size_that_is_none": ('limits = { head = "32q"; };', "32q"),
    "a_log_level_that_is_none": ('log = { level = "loud"; };', "loud"),
    "an_access_log_format_that_is_none": ('access_log = { path = "/tmp/x"; format = "xml"; };', "xml"),
    "a_network_that_is_none": ('trusted_proxies = [ "10.0.0.0/33" ];', "10.0.0.0/33"),
    "trusted_proxies_of_the_wrong_type": ('trusted_proxies = "10.0.0.0/8";', "trusted_proxies"),
    "a_shadow_of_more_than_all": ("defaults = { shadow = { share = 2.0; }; };", "shadow"),
}

SERVICE = {
    "an_unknown_key": ("hots = [ ];", "hots.*hosts"),
    "a_watch_without_end": ('watch = { duration = "31d"; };', "duration"),
    "a_launch_that_is_not_there": ('launch = { command = [ "/x" ]; };', "/x.*not there or not executable"),
    "a_balance_by_a_nameless_header": ('balance = "hash:header:";', "no name of a header"),
    "a_balance_that_is_none": ('balance = "best";', "best"),
    "an_instance_without_port": ('instances = [ "127.0.0.1" ];', "127.0.0.1"),
    "a_host_with_a_port": ('hosts = [ "app.test:80" ];', "app.test:80"),
    "a_wildcard_in_the_middle": ('hosts = [ "a.*.test" ];', r"a\.\*\.test"),
    "a_health_path_without_slash": ('health = { path = "up"; };', "up"),
    "a_health_path_with_a_space": ('health = { path = "/up HTTP/1.1"; };', "/up HTTP/1.1"),
    "a_budget_that_is_text": ('retries = { budget = "0.2"; };', "budget"),
    "a_budget_below_zero": ("retries = { budget = -0.1; };", "budget.*-0.1"),
    "a_budget_that_is_too_fine": ("retries = { budget = 0.00000001; };", "budget"),
    "a_health_timeout_of_nothing": ('health = { timeout = "0s"; };', "timeout"),
    "a_path_that_is_too_long": (f'paths = [ "/{"p" * 1023}" ];', "1024 bytes"),
    "a_health_path_that_is_too_long": (f'health = {{ path = "/{"h" * 1023}"; }};', "1024 bytes"),
    "a_path_to_pass_that_is_too_long": (f'pause = {{ pass = [ "/{"p" * 1023}" ]; }};', "1024 bytes"),
    "a_path_with_an_asterisk": ('paths = [ "/api/*" ];', r"/api/\*.*takes all that lies below it"),
    "a_path_to_pass_with_an_asterisk": ('pause = { pass = [ "/up*" ]; };', r"/up\*"),
    "a_path_without_slash": ('paths = [ "api" ];', "api"),
    "an_unknown_name_in_percent_braces": ('uptests = { directory = "/x/%{relase}"; };', "relase"),
    "a_relative_directory": ('uptests = { directory = "x"; };', "x"),
    "a_service_name_that_is_none": ('name = "Web";', "Web"),
    "a_head_timeout_inside_a_service": ('timeouts = { head = "1s"; };', "head"),
    "parallel_of_zero": ('uptests = { directory = "/x"; parallel = 0; };', "parallel"),
    "a_signal_that_is_none": ('teardown = { signal = "SHOOT"; };', "SHOOT"),
    "an_empty_runner_program": ('uptests = { directory = "/x"; runner = [ "" ]; };', "runner"),
}

MACHINE = {
    "a_user_that_is_not_there": ('user = "no-such-user";', "no-such-user"),
    "a_group_that_is_not_there": (
        'admin = { socket = "{folder}/admin.sock"; group = "no-such-group"; };',
        "no-such-group",
    ),
    "an_access_log_that_is_a_folder": ('access_log = { path = "{folder}"; };', "access_log.path.*is a folder"),
    "an_access_log_in_no_folder": ('access_log = { path = "{folder}/logs/a"; };', "access_log.path.*lies in no folder"),
    "admin_listen_without_token": (
        'admin = { socket = "{folder}/admin.sock"; listen = "127.0.0.1:9080"; };',
        "token_file",
    ),
}


def write(tmp_path, text):
    path = tmp_path / "upswapd.conf"
    path.write_text(text)
    return str(path)


def faulty(tmp_path, name):
    """The text with one fault, and the line it is on."""
    text = GOOD.format(folder=tmp_path)
    kind, _, name = name.partition(":")
    if kind == "service":
        key = SERVICE[name][0].partition(" ")[0]
        text = "\n".join(line for line in text.splitlines() if not line.strip().startswith(f"{key} =")) + "\n"
        text = text.replace("services = ( {\n", f"services = ( {{\n  {SERVICE[name][0]}\n")
        wanted = SERVICE[name]
    else:
        wanted = {**TOP, **MACHINE}[name]
        line = wanted[0].replace("{folder}", str(tmp_path))
        key = line.partition(" ")[0]
        text = "\n".join(each for each in text.splitlines() if not each.startswith(f"{key} ="))
        text = f"# one\n# two\n{line}\n{text}\n"
    needle = wanted[0].replace("{folder}", str(tmp_path))
    number = next(n for n, line in enumerate(text.splitlines(), 1) if needle in line)
    return text, number, wanted[1]


CASES = [f"top:{n}" for n in TOP] + [f"service:{n}" for n in SERVICE] + [f"machine:{n}" for n in MACHINE]


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_config_is_named_with_file_line_and_sentence(tmp_path, name):
    text, line, pattern = faulty(tmp_path, name)
    path = write(tmp_path, text)
    result = upswapd("-t", "-c", path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    said = result.stderr.strip()
    assert said.startswith(f"{path}:{line}: "), said
    sentence = said[len(f"{path}:{line}: ") :]
    assert re.search(pattern, sentence) and "\n" not in sentence and len(sentence) > 15


@pytest.mark.parametrize(
    "name", ["top:an_unknown_key", "service:a_balance_that_is_none", "machine:admin_listen_without_token"]
)
def test_the_daemon_does_not_start_with_a_wrong_config(tmp_path, name):
    text, line, _ = faulty(tmp_path, name)
    path = write(tmp_path, text)
    result = upswapd("-c", path)
    assert result.returncode == 1 and f"{path}:{line}: " in result.stderr
    processes.assert_none_left()
    assert not os.path.exists(tmp_path / "admin.sock")


CLASHES = {
    "two_services_of_one_name": 'services = ( { name = "a"; }, { name = "a"; paths = [ "/b" ]; } );',
    "two_services_on_one_host_and_path": 'services = ( { name = "a"; }, { name = "b"; } );',
    "two_listeners_on_one_address": 'listeners = ( { address = "127.0.0.1:8080"; }, { address = "127.0.0.1:8080"; } );',
}


@pytest.mark.parametrize("name", CLASHES)
def test_two_that_want_the_same_are_refused(tmp_path, name):
    text = "\n".join(
        line
        for line in GOOD.format(folder=tmp_path).splitlines()[:3]
        if not CLASHES[name].startswith(line.partition(" ")[0])
    )
    path = write(tmp_path, f"{text}\n{CLASHES[name]}\n")
    result = upswapd("-t", "-c", path)
    assert result.returncode == 1 and result.stderr.startswith(f"{path}:"), result


def test_a_valid_config_is_valid_and_t_leaves_no_trace(tmp_path):
    path = write(tmp_path, GOOD.format(folder=tmp_path))
    result = upswapd("-t", "-c", path)
    assert result.returncode == 0, result.stderr
    assert os.listdir(tmp_path) == ["upswapd.conf"]


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give up what root may")


def without(drop, *command):
    """As root that may not do all, as in a container that keeps few capabilities."""
    command = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", program("upswapd"), *command]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def assert_told_at_once(path, drop, said):
    """Another user than the daemon's may ask for a check, so there it is a warning."""
    checked = without(drop, "-t", "-c", path)
    assert checked.returncode == 0 and checked.stderr.startswith(said) and checked.stdout == f"{path}: valid\n"
    started = without(drop, "-c", path)
    assert started.returncode == 1 and said in started.stderr
    assert upswapd("-t", "-c", path).stderr == ""


NO_RIGHTS = 'no program can be run as "nobody", and ended, from here: that takes CAP_SETUID, CAP_SETGID and CAP_KILL'


@as_root
@pytest.mark.parametrize("key", ["uptests", "launch"])
@pytest.mark.parametrize("drop", ["-setuid", "-setgid", "-kill"])
def test_a_user_that_nothing_can_be_run_as_or_ended_is_told_before_the_first_gate(tmp_path, key, drop):
    text = GOOD.format(folder=tmp_path).replace("  name =", f'  {key} = {{ user = "nobody"; }};\n  name =')
    path = write(tmp_path, text)
    assert_told_at_once(path, drop, f"{path}:5: {key}.user: {NO_RIGHTS}")


@as_root
@pytest.mark.parametrize("drop", ["-setuid", "-setgid", "-kill", "-all"])
def test_a_user_that_the_proxy_cannot_be_run_as_is_told_at_the_start(tmp_path, drop):
    path = write(tmp_path, '\nuser = "nobody";\n' + GOOD.format(folder=tmp_path))
    assert_told_at_once(path, drop, f"{path}:2: the proxy's user: {NO_RIGHTS}")


@as_root
def test_where_there_is_no_user_for_the_proxy_it_does_not_run_as_root_unasked(tmp_path):
    """As in an image without /etc/passwd."""
    path = write(tmp_path, GOOD.format(folder=tmp_path))
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tmp_path / "nsswitch.conf").write_text("passwd: files\n")
    mounts = " && ".join(f"mount --bind {tmp_path}/{name} /etc/{name}" for name in ("passwd", "nsswitch.conf"))
    bare = ["unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
    if subprocess.run([*bare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mounts here")
    for options in (["-t"], []):
        result = subprocess.run(
            [*bare, program("upswapd"), *options, "-c", path], capture_output=True, text=True, check=False, timeout=30
        )
        assert result.returncode == 1 and f'{path}:1: there is no user "upswap" or "nobody"' in result.stderr, result
    path = write(tmp_path, 'user = "root";\n' + GOOD.format(folder=tmp_path))
    result = subprocess.run([*bare, program("upswapd"), "-t", "-c", path], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and result.stderr == "", result


def test_a_file_that_is_not_there_is_named():
    result = upswapd("-t", "-c", "/nonexistent/upswapd.conf")
    assert result.returncode == 1 and "/nonexistent/upswapd.conf" in result.stderr


def test_usage_version_and_help():
    assert upswapd().returncode == 2
    assert upswapd("-x").returncode == 2
    version = upswapd("-V")
    assert version.returncode == 0 and "upswapd" in version.stdout and "libevent" in version.stdout and "libsodium" in version.stdout
    help_ = upswapd("-h")
    assert help_.returncode == 0 and "-c" in help_.stdout


def ends_at_once(daemon):
    """What a daemon says that does not start."""
    daemon.write_config()
    daemon.spawn()
    assert daemon.wait_end() == 1
    return daemon.stderr()


def test_a_port_that_is_taken_is_named_and_the_daemon_does_not_start(make_daemon, make_backend):
    taken = make_backend("taken")
    assert taken.address in ends_at_once(make_daemon(listeners=[{"address": taken.address}]))


@pytest.mark.parametrize("key", ["socket", "listen"])
def test_an_admin_socket_that_cannot_be_opened_is_named_with_its_key_and_line(make_daemon, make_backend, tmp_path, key):
    (tmp_path / "token").write_text("a-long-random-word\n")
    taken, lost = make_backend("taken").address, str(tmp_path / "lost" / "admin.sock")
    settings = {"socket": lost} if key == "socket" else {"listen": taken, "token_file": str(tmp_path / "token")}
    daemon = make_daemon()
    daemon.config["admin"].update(settings)
    said = ends_at_once(daemon)
    (line,) = [n for n, text in enumerate(config_text(daemon.config).splitlines(), 1) if re.search(rf"\b{key} =", text)]
    assert f"{daemon.config_path}:{line}: admin.{key}: cannot listen on {lost if key == 'socket' else taken}: " in said
    assert key == "listen" or "No such file or directory; make its folder, or choose another path" in said


@pytest.mark.parametrize("settings", [{"state_directory": "/proc/no/state"}, {"listeners": [{"address": "192.0.2.1:1"}]}])
def test_a_log_of_json_is_json_to_the_last_word_of_a_failed_start(make_daemon, settings):
    said = ends_at_once(make_daemon(log={"format": "json"}, **settings)).splitlines()
    last = [json.loads(line) for line in said][-1]
    assert last["level"] == "error" and re.search("/proc/no|192.0.2.1:1", last["message"])


def test_a_state_directory_that_cannot_be_made_is_named_and_the_daemon_does_not_start(make_daemon):
    daemon = make_daemon(state_directory="/proc/no/state")
    assert f"{daemon.config_path}:2: state_directory: cannot make the folder /proc/no: " in ends_at_once(daemon)
    assert config_text(daemon.config).splitlines()[1].startswith("state_directory = ")


def test_a_state_directory_that_is_a_file_is_named_with_its_line(make_daemon, tmp_path):
    (tmp_path / "file").touch()
    daemon = make_daemon(state_directory=str(tmp_path / "file"))
    said = f"{daemon.config_path}:2: state_directory: {tmp_path}/file is there and not a folder; name one, or take it away"
    assert said in ends_at_once(daemon)


LACKS = {
    "dev": (["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev && exec "$0" "$@"'], "/dev/null cannot be opened: .*; make it"),
    "proc": (["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" "$@"'], "/proc/self/exe.*; mount /proc"),
    "memory": (["prlimit", "--as=200000000"], "cannot map the counters' .*; raise the limit of address space"),
}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take /dev away")
@pytest.mark.parametrize("what", LACKS)
def test_what_the_machine_lacks_is_named_with_what_mends_it(make_daemon, what):
    prefix, sentence = LACKS[what]
    if what == "memory" and "does not filter" in upswapd("-V").stdout:
        pytest.skip("a sanitizer has more address space than that")
    daemon = make_daemon()
    daemon.prefix = prefix
    said = ends_at_once(daemon)
    assert re.search(sentence, said), said


# ---- reload ----


@pytest.fixture
def front(start_own_front):
    return start_own_front(Backend("one"))


def test_the_client_checks_a_file_as_upswapd_does(front, tmp_path):
    path = write(tmp_path, GOOD.format(folder=tmp_path))
    assert front.daemon.upswap("check", path).returncode == 0
    text, line, _ = faulty(tmp_path, "top:an_unknown_key")
    result = front.daemon.upswap("check", write(tmp_path, text))
    assert result.returncode == 1 and f"{path}:{line}: " in result.stderr


def test_a_reload_with_a_fault_changes_nothing_and_says_where(front):
    events = front.daemon.events()
    before = front.admin.status()
    good = config_text(front.daemon.config)
    front.daemon.write_config(good.replace("workers = 2;", "workers = 2;\nnonsense = 1;"))
    result = front.daemon.upswap("reload")
    assert result.returncode == 1 and f"{front.daemon.config_path}:2: " in result.stderr
    refused = events.wait("config.refused")
    assert refused["asked_by"]["uid"] == os.getuid()
    assert "nonsense" in str(refused)
    after = front.admin.status()
    for status in (before, after):
        status.pop("snapshot")
        status.pop("last_event")
        for service in status["services"]:
            for pool in service["pools"]:
                pool.pop("requests")
    assert after == before
    assert front.ask().text == "one"


def test_the_longest_paths_and_hosts_that_are_taken_are_served(front):
    """What the check takes, every role takes: a world with them is published."""
    path, host = "/" + "p" * 1022, ".".join(["h" * 63] * 4)[:252]
    passes = ["/" + f"{n:03}".ljust(1022, "x") for n in range(100)]

    def lengthen(config):
        settings = {"hosts": [f"{host}."], "paths": [path], "pause": {"pass": passes}, "health": {"path": "/" + "u" * 1022}}
        config["services"][0].update(settings)

    front.daemon.write_config(front.daemon.changed_config(lengthen))
    assert front.daemon.upswap("reload").returncode == 0
    assert front.ask(target=path, host=host).text == "one"
    assert front.ask(target=path, host="other.test").status == 404


def test_a_reload_adds_and_removes_services_and_listeners_all_or_nothing(front, make_backend):
    second = make_backend("second")

    def add(config):
        config["services"].append(
            {"name": "second", "hosts": ["second.test"], "instances": [second.address]}
        )
        config["listeners"].append({"address": "127.0.0.1:0"})

    original = front.daemon.config
    front.daemon.write_config(front.daemon.changed_config(add))
    assert front.daemon.upswap("reload").returncode == 0
    assert front.ask(host="second.test").text == "second"
    assert front.ask().text == "one"
    ports = front.daemon.ports()
    assert len(ports) == 2 and ports[0] == front.port
    assert ask(ports[1], host="second.test").text == "second"
    front.daemon.write_config(original)
    assert front.daemon.upswap("reload").returncode == 0
    assert front.ask(host="second.test").text == "one"
    assert front.daemon.ports() == [front.port]
    with pytest.raises(ConnectionRefusedError):
        ask(ports[1])


def test_a_reload_changes_settings_for_requests_from_then_on(front):
    assert front.ask("POST", body=b"x" * 5000).status == 200
    front.daemon.write_config(front.daemon.changed_config(lambda config: config.update(limits={"body": "1k"})))
    assert front.daemon.upswap("reload").returncode == 0
    assert front.ask("POST", body=b"x" * 5000).status == 413


def test_a_reload_does_not_touch_pools_that_were_deployed(make_stand, make_backend):
    stand = make_stand()
    stand.suite.shell("01")
    stand.start()
    deployment = stand.admin.stage([make_backend("fresh").address])
    stand.events.wait_end(deployment)
    stand.daemon.config["services"][0]["instances"] = [make_backend("other").address]
    stand.daemon.write_config()
    assert stand.daemon.upswap("reload").returncode == 0
    assert stand.admin.live() == deployment and stand.ask().text == "fresh"


def warnings_of(result):
    assert result.returncode == 0 and result.stdout == "the config is reloaded\n"
    return result.stderr.splitlines()


def test_a_reload_says_once_that_other_instances_in_the_file_are_not_taken(front, make_backend):
    events, other = front.daemon.events(), make_backend("other").address
    front.daemon.config["services"][0]["instances"] = [other]
    front.daemon.write_config()
    (warning,) = warnings_of(front.daemon.upswap("reload"))
    told = events.wait("config.reloaded")["warnings"]
    assert warning == f"upswap: {told[0]}" and len(told) == 1
    assert f'{front.daemon.config_path}:' in warning and 'service "web"' in warning
    assert "web-0 is live" in warning and "`upswap stage web HOST:PORT...`" in warning
    assert told[0] in front.daemon.stderr()
    assert front.ask().text == "one"
    # The same file again asks for nothing that it did not ask for before.
    assert warnings_of(front.daemon.upswap("reload")) == []
    assert "warnings" not in events.wait("config.reloaded", count=2)


def test_a_reload_is_silent_of_instances_that_are_live_or_are_left_out(front):
    for instances in ([], front.daemon.config["services"][0]["instances"]):
        front.daemon.config["services"][0]["instances"] = instances
        front.daemon.write_config()
        assert warnings_of(front.daemon.upswap("reload")) == []


def test_a_reload_that_renames_a_service_says_what_becomes_of_its_live_pool(front):
    front.daemon.config["services"][0]["name"] = "shop"
    front.daemon.write_config()
    (warning,) = warnings_of(front.daemon.upswap("reload"))
    assert 'service "web" is no longer in the file' in warning and "web-0 gets no requests" in warning
    assert warnings_of(front.daemon.upswap("reload")) == []


def test_a_reload_in_a_deployment_does_not_disturb_it(make_stand, make_backend, puppets):
    stand = make_stand()
    stand.suite.add("01", puppets.program)
    stand.start()
    deployment = stand.admin.stage([make_backend("fresh").address])
    call = puppets.next()
    stand.daemon.write_config()
    assert stand.daemon.upswap("reload").returncode == 0
    call.exit(0)
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"
    assert stand.ask().text == "fresh"


def test_a_reload_keeps_connections_and_what_is_in_flight(front):
    held = Held(b"through the reload")
    front.backend.on("/held", held)
    with front.client() as busy, front.client() as idle:
        idle.ask()
        busy.request(target="/held")
        held.wait()
        assert front.daemon.upswap("reload").returncode == 0
        held.release()
        assert busy.response().text == "through the reload"
        assert idle.ask().text == "one" and busy.ask().text == "one"


def test_sighup_reloads_too(front):
    events = front.daemon.events()
    front.daemon.write_config(front.daemon.changed_config(lambda config: config.update(limits={"body": "1k"})))
    front.daemon.signal(signal.SIGHUP)
    events.wait("config.reloaded")
    assert front.ask("POST", body=b"x" * 5000).status == 413
    front.daemon.write_config("nonsense")
    front.daemon.signal(signal.SIGHUP)
    events.wait("config.refused")
    assert front.ask().status == 200


def services_of(daemon):
    return [service["service"] for service in daemon.admin.status()["services"]]


def test_a_reload_follows_the_links_on_the_way_to_the_file_anew(make_daemon):
    """As a ConfigMap of Kubernetes has them: FILE -> ..data/FILE, ..data -> ..1, and that one goes."""
    daemon = make_daemon([{"name": "first"}])
    for number, name in enumerate(("first", "second"), 1):
        os.mkdir(daemon.path(f"..{number}"))
        with open(daemon.path(f"..{number}", "upswapd.conf"), "w", encoding="utf-8") as file:
            file.write(config_text({**daemon.config, "services": [{"name": name}]}))
    os.symlink("..1", daemon.path("..data"))
    os.symlink("..data/upswapd.conf", daemon.config_path)
    daemon.start(write=False)
    assert services_of(daemon) == ["first"]
    os.symlink("..2", daemon.path("..data_tmp"))
    os.rename(daemon.path("..data_tmp"), daemon.path("..data"))
    shutil.rmtree(daemon.path("..1"))
    result = daemon.upswap("reload")
    assert result.returncode == 0, result
    assert services_of(daemon) == ["second"]


def test_a_file_that_is_named_from_the_working_folder_is_told_with_its_whole_path(make_daemon):
    daemon = make_daemon()
    daemon.write_config()
    whole, daemon.config_path = daemon.config_path, "upswapd.conf"
    daemon.prefix = ["env", "-C", daemon.folder]
    daemon.start(write=False)
    with open(whole, "w", encoding="utf-8") as file:
        file.write("nonsense")
    result = daemon.upswap("reload")
    assert result.returncode == 1 and f"{whole}:1: " in result.stderr


def with_service(config, name):
    first = config["services"][0]
    config["services"].append({**first, "name": name, "hosts": [f"{name}.test"]})


def services(front):
    """What there is, or nothing while control is away."""
    try:
        return [service["service"] for service in front.admin.status()["services"]]
    except OSError:
        return []


def write_and_signal(front, name):
    front.daemon.write_config(front.daemon.changed_config(lambda config: with_service(config, name)))
    front.daemon.signal(signal.SIGHUP)


def test_of_two_signals_that_come_together_the_second_is_heard_too(start_own_front, make_backend):
    front = start_own_front(make_backend("one"), service={"hosts": ["app.test"]})
    for number in range(30):
        write_and_signal(front, f"first-{number}")
        write_and_signal(front, f"second-{number}")
        wait_until(lambda number=number: services(front)[1:] == [f"second-{number}"], what=f"the file of round {number}")


def test_a_signal_that_comes_while_control_is_away_is_heard_by_the_next_one(start_own_front, make_backend):
    front = start_own_front(make_backend("one"), service={"hosts": ["app.test"]})
    for number in range(3):
        control = front.daemon.pids["control"]
        os.kill(control, signal.SIGKILL)
        write_and_signal(front, f"new-{number}")
        wait_until(lambda: services(front) == ["web", f"new-{number}"], what="the file that came meanwhile")


def test_a_listener_that_cannot_be_opened_refuses_the_whole_reload(front, make_backend):
    taken = make_backend("taken")

    def clash(config):
        config["listeners"].append({"address": taken.address})
        config["limits"] = {"body": "1k"}

    front.daemon.write_config(front.daemon.changed_config(clash))
    result = front.daemon.upswap("reload")
    assert result.returncode == 1 and taken.address in result.stderr
    assert front.ask("POST", body=b"x" * 5000).status == 200
