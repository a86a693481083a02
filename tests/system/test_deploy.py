"""`upswap deploy`: the launch of a release, from its command to the swap, and all that can go wrong in it."""

import os
import re
import signal
import subprocess
import textwrap

import pytest

from harness import documents, processes
from harness.daemon import build_folder
from harness.load import Load
from harness.waiting import stays, wait_until


class Pad:
    """A stand whose launch command is a puppet: the test says what it prints, and when."""

    def __init__(self, stand, puppets, **launch):
        self.stand, self.puppets = stand, puppets
        program = stand.daemon.path("launch")
        with open(program, "w", encoding="utf-8") as file:
            file.write(puppets.program)
        os.chmod(program, 0o755)
        self.service = stand.daemon.config["services"][0]
        self.service["launch"] = {"command": [program, "--first"], **launch}
        stand.suite.shell("01_pass")
        stand.start()
        self.admin, self.events = stand.admin, stand.events

    def try_deploy(self, release="v2", **keys):
        return self.admin.post("/v1/services/web/deployments", {"launch": True, "release": release, **keys})

    def deploy(self, release="v2", **keys):
        """Begins; the deployment's name and the command's call."""
        answer = self.try_deploy(release, **keys)
        assert answer.status == 202, answer
        return answer.json["deployment"], self.puppets.next()

    def rejected(self, deployment):
        """The deployment as shown, once it has been rejected."""
        end = self.events.wait_end(deployment)
        assert end["type"] == "deployment.rejected", end
        return self.admin.deployment(deployment)

    def wait_gone(self, deployment):
        wait_until(lambda: self.admin.pool(deployment) is None, what=f"the pool {deployment} to be retired")


@pytest.fixture
def pad(make_stand, puppets):
    """pad(live=1, service={...}, launch key=...)"""

    def make(live=1, service=None, **launch):
        return Pad(make_stand(live=live, service=service), puppets, **launch)

    return make


def says(call, *lines):
    for line in lines:
        call.order(f"echo '{line}'")


def test_the_instances_that_the_command_prints_go_the_whole_way(pad, make_backend):
    pad = pad(live=3)
    one, two = make_backend("one"), make_backend("two")
    deployment, call = pad.deploy("v42", hold=True)
    assert call.arguments == ["--first", "v42"]
    wanted = {"SERVICE": "web", "RELEASE": "v42", "DEPLOYMENT": deployment, "COUNT": "3"}
    assert {name: call.environment[f"LAUNCH_{name}"] for name in wanted} == wanted
    assert set(call.environment) - {f"LAUNCH_{name}" for name in wanted} <= {
        "PATH", "HOME", "LANG", "TZ", "PWD", "SHLVL", "_"
    }
    staged = pad.events.wait("deployment.staged", deployment=deployment)
    assert staged["instances"] == [] and staged["release"] == "v42"
    says(call, one.address, f"{two.address} weight=3")
    call.order("echo all is well >&2")
    call.exit()
    pad.events.wait("deployment.held", deployment=deployment)
    assert [e["instance"] for e in pad.events.of("launch.instance")] == [one.address, two.address]
    finished = pad.events.wait("launch.finished")
    assert finished["passed"] and finished["instances"] == 2 and finished["output"] == "all is well\n"
    shown = pad.admin.deployment(deployment)
    assert shown["instances"] == [one.address, two.address]
    assert shown["launch"]["state"] == "passed" and shown["launch"]["exit"] == 0
    assert shown["launch"]["argv"][1:] == ["--first", "v42"] and shown["launch"]["output"] == "all is well\n"
    assert [cell["state"] for cell in shown["gate"]["cells"]] == ["passed", "passed"]
    assert pad.stand.ask().body.startswith(b"live-")
    assert pad.admin.command("promote").status == 200
    assert pad.events.wait_end(deployment)["type"] == "deployment.done"
    assert {pad.stand.ask().body for _ in range(12)} == {b"one", b"two"}
    weights = {each["address"]: each.get("weight", 1) for each in pad.admin.pool(deployment)["instances"]}
    assert weights == {one.address: 1, two.address: 3}


def test_an_instance_is_staged_while_the_command_still_runs(pad, make_backend):
    pad = pad()
    one = make_backend("one")
    deployment, call = pad.deploy()
    says(call, one.address)
    pad.events.wait("launch.instance", instance=one.address)
    wait_until(lambda: one.connections, what="the look whether it accepts")
    shown = pad.admin.deployment(deployment)
    assert shown["state"] == "staged" and shown["instances"] == [one.address]
    assert shown["launch"]["state"] == "running" and shown["launch"]["exit"] is None
    stays(lambda: pad.admin.deployment(deployment)["state"] == "staged", 0.3)
    call.exit()
    assert pad.events.wait_end(deployment)["type"] == "deployment.done"


def test_one_that_never_accepts_is_found_while_the_command_still_runs(pad, make_backend):
    pad = pad(service={"ready_timeout": "400ms"})
    dumb = make_backend("dumb", listen=False)
    deployment, call = pad.deploy()
    says(call, dumb.address)
    shown = pad.rejected(deployment)
    assert dumb.address in shown["reason"]
    call.wait_end()
    pad.wait_gone(deployment)
    assert pad.stand.ask().body == b"live-0"


def test_the_count_that_is_wanted_is_the_configs_or_that_of_the_live_pool_or_one(pad, make_backend):
    pad_ = pad(live=0)
    deployment, call = pad_.deploy("v1")
    assert call.environment["LAUNCH_COUNT"] == "1"
    says(call, make_backend("one").address, make_backend("two").address)
    call.exit()
    assert pad_.events.wait_end(deployment)["type"] == "deployment.done"
    _, call = pad_.deploy("v2")
    assert call.environment["LAUNCH_COUNT"] == "2"
    call.exit(1)


def test_a_count_in_the_config_wins(pad):
    _, call = pad(live=3, count=7).deploy()
    assert call.environment["LAUNCH_COUNT"] == "7"
    call.exit(1)


FAILURES = {
    "exits": (["echo broken pipe dreams >&2", "exit 3"], "launch.command exited with status 3 after", "dreams"),
    "is killed": (["kill -KILL $$"], "launch.command was ended by signal 9 (SIGKILL)", ""),
    "prints nothing": (["exit 0"], "ended without having printed an instance", ""),
    "prints nonsense": (["echo Starting v2 ..."], 'line 2 of its stdout, "Starting v2 ..."', ""),
    "prints one twice": (["echo $ONE"], "already; each is to be named once", ""),
    "prints an unknown name": (["echo no-such-host.invalid:80"], "cannot be resolved", ""),
    "prints a wrong pid": (["echo 127.0.0.1:9 pid=99999999"], "there is no process with pid 99999999", ""),
}


@pytest.mark.parametrize("way", FAILURES)
def test_a_launch_that_fails_is_rejected_and_what_it_printed_is_torn_down(pad, make_app, make_backend, way):
    orders, reason, output = FAILURES[way]
    pad = pad()
    pad.service["teardown"] = {"signal": "TERM"}
    pad.stand.daemon.write_config()
    assert pad.admin.post("/v1/reload").status == 200
    app = make_app("v2")
    deployment, call = pad.deploy()
    if way != "prints nothing":
        says(call, f"{app.address} pid={app.pid}")
        pad.events.wait("launch.instance")
    for order in orders:
        call.order(order.replace("$ONE", app.address))
    shown = pad.rejected(deployment)
    assert reason in shown["reason"], shown["reason"]
    assert output in shown["launch"]["output"] and shown["launch"]["state"] == "failed"
    assert not pad.events.wait("launch.finished")["passed"]
    call.wait_end()
    pad.wait_gone(deployment)
    if way != "prints nothing":
        assert app.wait_end() == -signal.SIGTERM
        retired = pad.events.wait("instance.retired", deployment=deployment)
        assert (retired["instance"], retired["reason"]) == (app.address, "rejected")
    assert pad.stand.ask().body == b"live-0"
    again, call = pad.deploy("v3")  # and it hinders nobody
    says(call, make_backend("fresh").address)
    call.exit()
    assert pad.events.wait_end(again)["type"] == "deployment.done"


def test_a_launch_that_takes_too_long_is_rejected_with_its_whole_process_group(pad, make_backend):
    pad = pad(timeout="400ms")
    one = make_backend("one")
    deployment, call = pad.deploy()
    call.order("echo still waiting >&2")
    says(call, one.address)
    shown = pad.rejected(deployment)
    assert "since its timeout was over" in shown["reason"] and "still waiting" in shown["reason"]
    assert shown["launch"]["timed_out"] and shown["instances"] == [one.address]
    call.wait_end()
    pad.wait_gone(deployment)


def test_abort_stops_the_command_and_tears_down_what_it_printed(pad, make_backend):
    pad = pad()
    one = make_backend("one")
    deployment, call = pad.deploy()
    says(call, one.address)
    pad.events.wait("launch.instance")
    assert pad.admin.command("abort", reason="changed my mind").status == 200
    assert pad.events.wait_end(deployment)["type"] == "deployment.aborted"
    call.wait_end()
    assert pad.events.wait("instance.retired", deployment=deployment)["instance"] == one.address
    pad.wait_gone(deployment)


def test_what_an_aborted_launch_has_written_is_told_and_kept(pad, make_backend):
    pad = pad()
    deployment, call = pad.deploy()
    done = pad.stand.daemon.path("written")
    call.order(f"trap '' TERM; echo pulls the image >&2; touch {done}")
    wait_until(lambda: os.path.exists(done), what="it to be written")
    assert pad.admin.command("abort", reason="it hangs").status == 200
    assert pad.admin.deployment(deployment)["launch"]["state"] == "running", "until it is gone"
    told = pad.events.wait("launch.finished", deployment=deployment)
    assert told["passed"] is False and "was given up: it hangs" in told["reason"]
    launch = pad.admin.deployment(deployment)["launch"]
    assert launch["state"] == "failed" and "pulls the image" in launch["output"] and launch["signal"]


def test_a_gate_that_fails_tears_down_what_was_launched(pad, make_backend):
    pad = pad()
    pad.stand.suite.shell("02_fail", "exit 1")
    one = make_backend("one")
    deployment, call = pad.deploy()
    says(call, one.address)
    call.exit()
    assert "02_fail" in pad.rejected(deployment)["reason"]
    assert pad.events.wait("instance.retired", deployment=deployment)["instance"] == one.address
    pad.wait_gone(deployment)


@pytest.mark.parametrize("role", ["control", "keeper"])
def test_who_dies_in_a_launch_rejects_it_and_tears_down_what_is_known(pad, make_app, role):
    pad = pad()
    pad.service["teardown"] = {"signal": "TERM"}
    pad.stand.daemon.write_config()
    assert pad.admin.post("/v1/reload").status == 200
    app = make_app("v2")
    deployment, call = pad.deploy()
    says(call, f"{app.address} pid={app.pid}")
    pad.events.wait("launch.instance")
    pad.stand.daemon.kill_role(role)
    call.wait_end()
    shown = pad.rejected(deployment)
    assert "was started again while launch.command ran" in shown["reason"]
    assert shown["instances"] == [app.address]
    assert app.wait_end() == -signal.SIGTERM
    pad.wait_gone(deployment)
    pad.stand.port = pad.stand.daemon.port  # another one, if the keeper died
    assert pad.stand.ask().body == b"live-0"


def test_a_launch_outlives_the_proxy(pad, make_backend):
    pad = pad()
    deployment, call = pad.deploy()
    pad.stand.daemon.kill_role("proxy")
    says(call, make_backend("one").address)
    call.exit()
    assert pad.events.wait_end(deployment)["type"] == "deployment.done"
    wait_until(lambda: pad.stand.ask().body == b"one", what="the new release")


def test_a_daemon_that_is_told_to_stop_ends_the_launch(pad, make_backend):
    pad = pad()
    deployment, call = pad.deploy()
    says(call, make_backend("one").address)
    pad.events.wait("launch.instance")
    assert pad.stand.daemon.stop() == 0
    call.wait_end()
    pad.stand.daemon.start(write=False)
    wait_until(lambda: pad.admin.deployment(deployment)["state"] == "rejected", what="the rejection")


def test_a_launched_release_is_brought_back_by_deploy(pad, make_backend):
    pad = pad()
    for release in ("v2", "v3"):
        deployment, call = pad.deploy(release)
        says(call, make_backend(release).address)
        call.exit(0)
        assert pad.events.wait_end(deployment)["type"] == "deployment.done"
    answer = pad.admin.command("rollback")
    assert answer.status == 409
    assert answer.detail.endswith(": the instances of web-1 are torn down; `upswap deploy web v2` starts that release again")
    assert '"upswap deploy web RELEASE" brings the next release live.' in pad.stand.daemon.upswap("why", "web").stdout


def test_an_address_that_is_live_is_left_alone_when_its_launch_fails(pad):
    pad = pad()
    (live,) = pad.stand.live
    deployment, call = pad.deploy()
    says(call, live.address)
    pad.events.wait("launch.instance")
    call.exit(1)
    pad.rejected(deployment)
    pad.wait_gone(deployment)
    assert pad.events.wait("instance.retired", deployment=deployment)["left_alone"]
    assert pad.stand.ask().body == b"live-0"


def test_what_cannot_be_launched_is_refused(stand, make_backend):
    path = "/v1/services/web/deployments"
    answer = stand.admin.post(path, {"launch": True, "release": "v2"})
    assert answer.status == 422 and "has no launch.command" in answer.detail
    answer = stand.admin.post(path, {"launch": True, "instances": [make_backend("one").address]})
    assert answer.status == 400 and "leave \"instances\" out" in answer.detail
    answer = stand.admin.post(path, {"launch": False})
    assert answer.status == 400 and "\"instances\" is missing" in answer.detail
    result = stand.daemon.upswap("deploy", "web", "v2")
    assert result.returncode == 1 and "has no launch.command" in result.stderr
    assert stand.daemon.upswap("deploy", "web").returncode == 2


def test_a_release_is_needed_and_must_be_a_name(pad):
    pad = pad()
    answer = pad.try_deploy("")
    assert answer.status == 422 and "name of the release" in answer.detail
    answer = pad.try_deploy("../etc")
    assert answer.status == 422 and "is no name of a release" in answer.detail
    answer = pad.try_deploy("v" * 129)
    assert answer.status == 422 and "129 bytes; use 128" in answer.detail
    deployment, call = pad.deploy()
    answer = pad.try_deploy("v3")
    assert answer.status == 409 and deployment in answer.detail
    call.exit(1)


def test_options_of_the_config_reach_the_command(make_stand, puppets):
    stand = make_stand()
    folder = stand.daemon.path("v2")
    os.mkdir(folder)
    with open(os.path.join(folder, "env"), "w", encoding="ascii") as file:
        file.write("FROM_FILE=yes\nBOTH=file\n")
    pad = Pad(
        stand,
        puppets,
        chdir=stand.daemon.path("%{release}"),
        env_file=stand.daemon.path("%{release}", "env"),
        environment={"BOTH": "config", "LAUNCH_COUNT": "99"},
        user="nobody" if os.geteuid() == 0 else None,
    )
    _, call = pad.deploy()
    got = call.environment
    assert (got["FROM_FILE"], got["BOTH"], got["LAUNCH_COUNT"]) == ("yes", "config", "1")
    assert os.readlink(f"/proc/{call.pid}/cwd") == folder
    if os.geteuid() == 0:
        assert os.stat(f"/proc/{call.pid}").st_uid != 0
    call.exit(1)


def test_the_client_follows_a_deploy_to_its_end(pad, make_backend):
    pad = pad()
    one = make_backend("one")
    client = pad.stand.daemon.spawn_upswap("deploy", "web", "v2")
    call = pad.puppets.next()
    says(call, one.address)
    call.exit()
    output, _ = client.communicate(timeout=30)
    assert processes.finish(client) == 0, output
    assert f"{one.address} is started" in output and "launch.command ended" in output
    assert "is done" in output
    client = pad.stand.daemon.spawn_upswap("deploy", "web", "v3")
    call = pad.puppets.next()
    call.order("echo out of memory >&2")
    call.exit(1)
    output, _ = client.communicate(timeout=30)
    assert processes.finish(client) == 3, output
    assert "out of memory" in output
    shown = pad.stand.daemon.upswap("show", pad.admin.history()[0]["deployment"]).stdout
    assert "v3  launch.command  exited with 1" in shown and "/launch --first v3\n    out of memory\n" in shown


def test_the_options_of_stage_go_along(pad, make_backend):
    pad = pad()
    deployment, call = pad.deploy("v2", canary=[50], step="100ms", watch="100ms")
    says(call, make_backend("one").address)
    call.exit()
    assert pad.events.wait_end(deployment, timeout=30)["type"] == "deployment.done"
    types = [event["type"] for event in pad.events.all if event.get("deployment") == deployment]
    way = ["deployment.staged", "launch.instance", "launch.finished", "deployment.ready", "gate.passed", "canary.step",
           "watch.started", "watch.passed", "deployment.done"]
    assert [each for each in types if each in way] == way
    done = pad.stand.daemon.path("migrated")
    deployment, call = pad.deploy("v3", pause_with=["/bin/sh", "-c", f"echo yes > {done}"])
    assert not os.path.exists(done), "nothing is paused while the launch goes on"
    says(call, make_backend("two").address)
    call.exit()
    assert pad.events.wait_end(deployment)["type"] == "deployment.done"
    assert os.path.exists(done)


def test_twenty_deploys_under_load_lose_no_request(make_stand, make_app, puppets):
    stand = make_stand(live=0)
    apps = {app.address: app for app in make_app("v0", 2)}
    stand.daemon.config["services"][0]["instances"] = list(apps)
    pad = Pad(stand, puppets)
    with Load(stand.port, plan=("kept", "fresh", "post")) as load:
        for number in range(20):
            deployment, call = pad.deploy(f"v{number + 1}")
            fresh = make_app(f"v{number + 1}", 2)
            for app in fresh:
                says(call, app.address)
            call.exit()
            assert pad.events.wait_end(deployment)["type"] == "deployment.done"
    load.assert_flawless()
    assert len(load.releases()) > 10


# ---- the examples of doc/launch ----


EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "doc", "launch")
EXAMPLE_APP = """#!/usr/bin/python3 -IS
import os, socket
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
if "PORT_FILE" in os.environ:
    with open(os.environ["PORT_FILE"], "w") as file:
        file.write(str(listener.getsockname()[1]))
while True:
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nRR")
    connection.close()
"""


def put_program(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)


def put_release(folder, release):
    put_program(os.path.join(folder, release, "run"), EXAMPLE_APP.replace("RR", release))


def example(name, program):
    return os.path.abspath(os.path.join(EXAMPLES, name, program))


@pytest.fixture
def example_stand(make_stand):
    """example_stand(launch, teardown, environment): started with an empty pool; ends what was launched."""
    made = []

    def make(launch, teardown, **environment):
        stand = make_stand(live=0)
        environment = {"LAUNCH_ROOT": stand.daemon.path("web"), **environment}
        service = stand.daemon.config["services"][0]
        service["launch"] = {"command": [launch], "count": 2, "environment": environment}
        service["teardown"] = teardown
        stand.suite.shell("01_pass")
        for release in ("v1", "v2", "v3"):
            put_release(stand.daemon.path("web"), release)
        made.append(stand)
        return stand

    yield make
    for stand in made:
        processes.end_orphans_of(stand.daemon.path("web"))


def deploy_three(stand):
    """Three releases one after the other; the last one serves, and nothing of the others is left."""
    for release in ("v1", "v2", "v3"):
        result = stand.daemon.upswap("deploy", "web", release)
        assert result.returncode == 0, result
        assert {stand.ask().body for _ in range(4)} == {release.encode()}
    web = stand.daemon.path("web")
    wait_until(lambda: len(processes.orphans_of(web)) == 2, what="the old instances to be gone")


def test_the_example_of_plain_processes_works(example_stand):
    stand = example_stand(example("processes", "start"), {"signal": "TERM"}).start()
    deploy_three(stand)
    put_program(stand.daemon.path("web", "v4", "run"), "#!/bin/sh\necho no database >&2\necho >&2\nexit 1\n")
    for _ in range(2):
        result = stand.daemon.upswap("deploy", "web", "v4")
        assert result.returncode == 3 and "v4 ended at once: no database (see " in result.stdout, result
    put_program(stand.daemon.path("web", "v4", "run"), "#!/bin/sh\nexit 1\n")
    result = stand.daemon.upswap("deploy", "web", "v4")
    assert result.returncode == 3 and "v4 ended at once: it has written nothing (see " in result.stdout, result


# Stand-ins, since a test machine has neither a systemd that runs nor a Docker: units and containers are processes.
SYSTEMCTL = """#!/bin/bash
case $1 in
--quiet) compgen -G "STATE/$3" >/dev/null ;;
start)
    name=${2#web@}
    WEB_ROOT=WEB setsid RUN "${name%.service}" </dev/null >/dev/null 2>&1 &
    echo $! >"STATE/$2" ;;
stop) kill "$(cat "STATE/$2")" && rm "STATE/$2" ;;
*) exit 64 ;;
esac
"""
DOCKER = """#!/bin/bash
case $1 in
run)
    id=$(mktemp STATE/XXXXXX)
    image=${!#}
    PORT=0 PORT_FILE=$id.port setsid "WEB/${image#web:}/run" </dev/null >/dev/null 2>&1 &
    echo $! >"$id"
    until [ -s "$id.port" ]; do sleep 0.02; done
    echo "${id##*/}" ;;
port) echo "127.0.0.1:$(cat "STATE/$2.port")" ;;
ps) port=${6#publish=}; file=$(grep -lx "$port" STATE/*.port) && file=${file##*/} && echo "${file%.port}" ;;
stop) kill "$(cat "STATE/$2")" && rm "STATE/$2" "STATE/$2.port" ;;
*) exit 64 ;;
esac
"""


def put_stand_in(stand, name, text):
    """A program of this name that the daemon's programs find first."""
    web, state = stand.daemon.path("web"), stand.daemon.path("state-of-" + name)
    os.mkdir(state)
    text = text.replace("STATE", state).replace("WEB_ROOT=WEB", f"WEB_ROOT={web}").replace('"WEB/', f'"{web}/')
    put_program(stand.daemon.path("bin", name), text.replace("RUN", example("systemd", "run")))
    stand.daemon.environment["PATH"] = stand.daemon.path("bin") + ":" + os.environ["PATH"]


def test_the_example_of_systemd_units_works(example_stand):
    teardown = {"command": [example("systemd", "stop")]}
    stand = example_stand(example("systemd", "start"), teardown, PORT_FIRST="21100", PORT_LAST="21999")
    put_stand_in(stand, "systemctl", SYSTEMCTL)
    stand.start()
    deploy_three(stand)
    units = os.listdir(stand.daemon.path("state-of-systemctl"))
    assert len(units) == 2 and all(unit.startswith("web@v3:21") for unit in units), units


def test_the_example_of_docker_works(example_stand):
    stand = example_stand(example("docker", "start"), {"command": [example("docker", "stop")]})
    put_stand_in(stand, "docker", DOCKER)
    stand.start()
    deploy_three(stand)


# ---- the step of GitHub Actions ----


RSYNC = """#!/bin/bash
[ "$1 $2" = "-a --delete" ] && to=${4#*:} && mkdir -p "$to" && cp -r "$3." "$to"
"""
SSH = """#!/bin/bash
shift
exec bash -c "$*"
"""


def test_the_step_of_github_actions_in_the_recipes_works(example_stand):
    stand = example_stand(example("processes", "start"), {"signal": "TERM"}).start()
    put_program(stand.daemon.path("bin", "rsync"), RSYNC)
    put_program(stand.daemon.path("bin", "ssh"), SSH)
    put_program(stand.daemon.path("checkout", "build", "run"), EXAMPLE_APP.replace("RR", "gh"))
    step = textwrap.dedent(re.search(r"  run: \|\n((?:    .*\n)+)", documents.read("doc", "recipes.md"))[1])
    assert step.endswith(" --watch 5m\n")
    environment = {
        "PATH": ":".join((stand.daemon.path("bin"), build_folder(), os.environ["PATH"])),
        "UPSWAP_SOCKET": stand.daemon.socket,
        "RELEASE": "0123abcd",
    }
    script = step.replace("/srv/web", stand.daemon.path("web")).replace("--watch 5m", "--watch 0s")
    subprocess.run(["bash", "-euc", script], cwd=stand.daemon.path("checkout"), env=environment, check=True)
    assert stand.ask().body == b"gh"
