"""The rules of uptests: how they are found, started, watched and judged."""

import json
import os
import pwd

import pytest

from harness import processes
from harness.waiting import wait_until

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may start programs as somebody else")


def outcome(results, name="01"):
    """The one result of the uptest with this name."""
    found = [result for result in results if result["Name"] == name]
    assert len(found) == 1, results
    return found[0]


@pytest.fixture
def bench(make_stand, make_backend):
    """A stand with an empty suite, and an instance to test."""

    def make(**options):
        made = make_stand(**options).start()
        made.target = make_backend("target")
        return made

    return make


def lines(result):
    return result["Output"].splitlines()


def test_control_takes_all_descriptors_that_it_may_have_and_uptests_what_the_daemon_was_given(make_stand):
    stand = make_stand()
    stand.daemon.prefix = ["prlimit", "--nofile=200:2000"]
    stand.start()
    with open(f"/proc/{stand.daemon.pids['control']}/limits", encoding="ascii") as limits:
        assert any(line.split()[:5] == ["Max", "open", "files", "2000", "2000"] for line in limits)
    stand.suite.shell("01", "ulimit -Sn")
    assert lines(outcome(stand.run())) == ["200"]


def test_the_results_have_the_shape_of_velociraptors_array(bench):
    stand = bench()
    stand.suite.shell("01_pass", "echo fine; echo odd >&2")
    stand.suite.shell("02_fail", "echo broken; exit 1")
    passed, failed = stand.run(stand.target)
    assert (passed["Name"], passed["Passed"], passed["Output"]) == ("01_pass", True, "fine\nodd\n")
    assert (failed["Name"], failed["Passed"], failed["Output"]) == ("02_fail", False, "broken\n")
    assert passed["Host"] == "127.0.0.1" and passed["Port"] == stand.target.port
    assert 0 <= passed["Seconds"] < 5
    assert (passed["Exit"], passed["Signal"], passed["TimedOut"]) == (0, None, False)
    assert (failed["Exit"], failed["Signal"], failed["TimedOut"]) == (1, None, False)


def test_the_client_prints_the_same_array_and_nothing_else(bench):
    stand = bench()
    stand.suite.shell("01_pass", "echo fine")
    result = stand.daemon.upswap("--json", "uptest", "web", stand.target.address)
    assert result.returncode == 0
    (only,) = json.loads(result.stdout)
    assert only["Name"] == "01_pass" and only["Passed"] is True and only["Output"] == "fine\n"
    stand.suite.shell("02_fail", "exit 1")
    result = stand.daemon.upswap("--json", "uptest", "web", stand.target.address)
    assert result.returncode == 3
    assert [each["Passed"] for each in json.loads(result.stdout)] == [True, False]


def test_without_instances_the_live_ones_are_tested(bench):
    stand = bench(live=2)
    stand.suite.shell("01")
    ports = sorted(result["Port"] for result in stand.run())
    assert ports == sorted(backend.port for backend in stand.live)


def test_the_suite_is_every_file_in_byte_order_but_dot_files_and_folders(bench):
    stand = bench()
    for name in ("b", "a", "B", "10", "9", "_", "ä", ".hidden"):
        stand.suite.shell(name)
    os.mkdir(os.path.join(stand.suite.folder, "0_folder"))
    names = [result["Name"] for result in stand.run(stand.target)]
    assert names == ["10", "9", "B", "_", "a", "b", "ä"]


def test_an_uptest_is_called_with_host_and_port(bench):
    stand = bench()
    stand.suite.shell("01", 'printf "%s|%s|%s|" "$#" "$1" "$2"; basename "$0"')
    assert outcome(stand.run(stand.target))["Output"] == f"2|127.0.0.1|{stand.target.port}|01\n"


def test_the_host_of_an_ipv6_instance_comes_without_brackets(bench, make_backend):
    stand = bench()
    target = make_backend("six", host="::1")
    stand.suite.shell("01", 'echo "$1 $2 $UPTEST_HOST $UPTEST_VHOST"')
    assert outcome(stand.run(target))["Output"] == f"::1 {target.port} ::1 [::1]:{target.port}\n"


def test_a_name_is_passed_on_as_it_was_given(bench):
    stand = bench()
    stand.suite.shell("01", 'echo "$1"')
    answer = stand.admin.command("uptest", instances=[f"localhost:{stand.target.port}"])
    assert outcome(answer.json)["Output"] == "localhost\n"


def environment_of(stand, **keys):
    stand.suite.shell("01", "env -0 | tr '\\n\\0' ' \\n'")
    return dict(line.split("=", 1) for line in lines(outcome(stand.run(stand.target, **keys))))


INHERITED = {"PATH", "HOME", "LANG", "TZ"}
SHELLS_OWN = {"PWD", "SHLVL", "_", "OLDPWD"}
UPTEST = {f"UPTEST_{name}" for name in ("SERVICE", "RELEASE", "DEPLOYMENT", "HOST", "PORT", "VHOST")}


def test_nothing_of_the_daemons_environment_is_inherited_but_four_names(make_stand, make_backend):
    stand = make_stand()
    stand.daemon.environment = {"SECRET_TOKEN": "x", "TZ": "Mars/Olympus", "LANG": "C"}
    stand.start()
    stand.target = make_backend()
    got = environment_of(stand)
    assert set(got) - SHELLS_OWN <= INHERITED | UPTEST
    assert got["TZ"] == "Mars/Olympus" and got["LANG"] == "C" and "PATH" in got


def test_the_environment_tells_what_is_tested(bench):
    stand = bench(service={"hosts": ["*.wild.test", "shop.test", "other.test"]})
    got = environment_of(stand, release="v7")
    assert got["UPTEST_SERVICE"] == "web"
    assert got["UPTEST_RELEASE"] == "v7"
    assert got["UPTEST_HOST"] == "127.0.0.1"
    assert got["UPTEST_PORT"] == str(stand.target.port)
    assert got["UPTEST_VHOST"] == "shop.test"
    assert got.get("UPTEST_DEPLOYMENT", "") == ""


def test_the_vhost_of_a_service_without_exact_host_is_the_instance(bench):
    stand = bench(service={"hosts": ["*.wild.test"]})
    assert environment_of(stand)["UPTEST_VHOST"] == stand.target.address


def test_a_staged_pools_uptests_are_told_the_deployment(bench):
    stand = bench()
    stand.suite.shell("01", 'echo "$UPTEST_DEPLOYMENT $UPTEST_RELEASE"')
    deployment = stand.admin.stage([stand.target.address], release="v9")
    stand.events.wait_end(deployment)
    (cell,) = stand.admin.deployment(deployment)["gate"]["cells"]
    assert cell["output"] == f"{deployment} v9\n"


def test_env_file_then_environment_then_uptest_names_win(bench):
    stand = bench(
        uptests={
            "env_file": "/nonexistent",
            "environment": {"BOTH": "environment", "ONLY": "here"},
        }
    )
    path = stand.daemon.path("env")
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            "# a comment\n\nBOTH=file\nexport EXPORTED=yes\nQUOTED=\"two words\"\nSINGLE='it'\n"
            "RAW=$HOME `id`\nEQUALS=a=b\nINNER=a\"b\"c\n"
            "UPTEST_SERVICE=forged\n"
        )
    stand.daemon.config["services"][0]["uptests"]["env_file"] = path
    stand.daemon.write_config()
    assert stand.daemon.upswap("reload").returncode == 0
    got = environment_of(stand)
    assert got["BOTH"] == "environment" and got["ONLY"] == "here" and got["UPTEST_SERVICE"] == "web"
    assert got["EXPORTED"] == "yes" and got["QUOTED"] == "two words" and got["SINGLE"] == "it"
    assert got["RAW"] == "$HOME `id`" and got["EQUALS"] == "a=b" and got["INNER"] == 'a"b"c'


def test_an_env_file_that_cannot_be_read_fails_the_gate_and_is_named(bench):
    stand = bench(uptests={"env_file": "/nonexistent/env"})
    stand.suite.shell("01")
    deployment = stand.admin.stage([stand.target.address])
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert "/nonexistent/env" in stand.admin.deployment(deployment)["reason"]


def test_the_release_is_put_into_directory_env_file_chdir_and_runner(make_stand, make_backend):
    stand = make_stand(
        uptests={
            "directory": "ROOT/%{release}/uptests",
            "env_file": "ROOT/%{release}/env",
            "chdir": "ROOT/%{release}",
            "runner": ["/usr/bin/env", "RUNNER=%{release}"],
        }
    )
    root = stand.daemon.path("releases")
    uptests = stand.daemon.config["services"][0]["uptests"]
    for key in ("directory", "env_file", "chdir"):
        uptests[key] = uptests[key].replace("ROOT", root)
    for release in ("v1", "v2.0_rc-1"):
        stand.suite.__init__(os.path.join(root, release, "uptests"))
        stand.suite.shell("01", f'echo {release} "$FILE" "$RUNNER"; pwd')
        with open(os.path.join(root, release, "env"), "w", encoding="utf-8") as file:
            file.write(f"FILE=file-{release}\n")
    stand.start()
    target = make_backend()
    for release in ("v1", "v2.0_rc-1"):
        got = lines(outcome(stand.run(target, release=release)))
        assert got == [f"{release} file-{release} {release}", os.path.join(root, release)]


@pytest.mark.parametrize("release", ["..", ".", "a/b", "a b", "ä", "x" * 200, "%{release}"])
def test_a_release_that_could_leave_its_folder_is_refused(bench, release):
    stand = bench()
    stand.suite.shell("01")
    answer = stand.admin.try_stage([stand.target.address], release=release)
    assert answer.status == 422 and "release" in answer.detail


def test_a_directory_with_a_release_needs_one(bench):
    stand = bench(uptests={"directory": "/nonexistent/%{release}"})
    answer = stand.admin.try_stage([stand.target.address])
    assert answer.status == 422 and "release" in answer.detail


def test_the_working_directory_is_chdir_or_the_suites(bench):
    stand = bench()
    stand.suite.shell("01", "pwd")
    assert outcome(stand.run(stand.target))["Output"] == f"{stand.suite.folder}\n"
    stand = bench(uptests={"chdir": "/usr/lib"})
    stand.suite.shell("01", "pwd")
    assert outcome(stand.run(stand.target))["Output"] == "/usr/lib\n"


def test_a_runner_stands_before_the_file(bench):
    stand = bench(uptests={"runner": ["/bin/echo", "with", "spaces in it"]})
    path = stand.suite.shell("01", "exit 1")
    expected = f"with spaces in it {path} 127.0.0.1 {stand.target.port}\n"
    assert outcome(stand.run(stand.target))["Output"] == expected


@as_root
def test_uptests_run_as_their_user_with_its_groups(bench):
    user = pwd.getpwnam("nobody")
    stand = bench(uptests={"user": "nobody"})
    stand.suite.shell("01", "id -u; id -g; id -G; echo x > /proc/1/oom_score_adj")
    uid, gid, groups, refused = lines(outcome(stand.run(stand.target)))
    assert (int(uid), int(gid)) == (user.pw_uid, user.pw_gid)
    assert set(map(int, groups.split())) == set(os.getgrouplist("nobody", user.pw_gid))
    assert "denied" in refused.lower()


def test_stdout_and_stderr_are_kept_together_in_order(bench):
    stand = bench()
    stand.suite.shell("01", "for i in 1 2 3; do echo out $i; echo err $i >&2; done")
    assert lines(outcome(stand.run(stand.target))) == [f"{s} {i}" for i in (1, 2, 3) for s in ("out", "err")]


def test_stdin_is_empty(bench):
    stand = bench()
    stand.suite.shell("01", "cat; readlink /proc/self/fd/0")
    assert outcome(stand.run(stand.target))["Output"] == "/dev/null\n"


def test_the_last_64_kib_of_output_are_kept(bench):
    stand = bench()
    stand.suite.python("01", "for n in range(20000): print(f'line {n:06}')")
    output = outcome(stand.run(stand.target))["Output"]
    assert 60000 < len(output) <= 65536 + 200
    assert output.endswith("line 019999\n") and "line 000000" not in output


def test_output_that_is_no_utf_8_becomes_valid_json(bench):
    stand = bench()
    stand.suite.shell("01", "printf 'a\\377\\000b\\033'")
    output = outcome(stand.run(stand.target))["Output"]
    assert output.startswith("a") and "b" in output


def test_a_gigabyte_of_output_does_not_hurt_the_daemon(bench):
    stand = bench(uptests={"timeout": "5s"})
    control = stand.daemon.pids["control"]
    before = processes.resident_bytes(control)
    stand.suite.shell("01", "head -c 1073741824 /dev/zero | tr '\\0' 'x'; echo end")
    result = outcome(stand.run(stand.target))
    assert len(result["Output"]) <= 65536 + 200
    assert processes.resident_bytes(control) - before < 16 << 20
    assert stand.daemon.pids["control"] == control


def test_no_descriptor_of_the_daemon_is_inherited(bench):
    stand = bench()
    stand.suite.python(
        "01",
        "import os\nfor fd in sorted(map(int, os.listdir('/proc/self/fd'))):\n"
        "    try: print(fd, os.readlink(f'/proc/self/fd/{fd}'))\n    except OSError: pass",
    )
    got = [line.split(" ", 1) for line in lines(outcome(stand.run(stand.target)))]
    own = [link for fd, link in got if int(fd) > 2]
    assert [link for link in own if not link.endswith("/fd") and "01" not in link] == [], got
    assert dict(got)["0"] == "/dev/null" and dict(got)["1"] == dict(got)["2"]


def test_signals_are_as_by_default(bench):
    stand = bench()
    stand.suite.shell("01", "grep -E '^Sig(Blk|Ign)' /proc/self/status")
    assert lines(outcome(stand.run(stand.target))) == ["SigBlk:\t" + "0" * 16, "SigIgn:\t" + "0" * 16]


def test_an_uptest_has_a_process_group_of_its_own(bench, puppets):
    stand = bench()
    stand.suite.add("01", puppets.program)
    deployment = stand.admin.stage([stand.target.address])
    call = puppets.next()
    assert os.getpgid(call.pid) == call.pid
    assert os.getpgid(stand.daemon.pids["control"]) != call.pid
    call.exit(0)
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


def test_a_timeout_ends_the_whole_group_first_with_term(bench):
    stand = bench(uptests={"timeout": "1s"})
    stand.suite.shell("01", f"trap 'echo got TERM; exit 7' TERM; cat {stand.never}")
    result = outcome(stand.run(stand.target))
    assert not result["Passed"] and "got TERM" in result["Output"]
    assert 1 <= result["Seconds"] < 3


def test_what_ignores_term_is_killed_two_seconds_later(bench, puppets):
    stand = bench(uptests={"timeout": "1500ms"})
    stand.suite.add("01", puppets.program)
    deployment = stand.admin.stage([stand.target.address])
    call = puppets.next()
    call.order("trap '' TERM")
    call.order(f"(trap '' TERM; exec cat {stand.never}) & echo child")
    end = stand.events.wait_end(deployment)
    assert end["type"] == "deployment.rejected"
    (cell,) = stand.admin.deployment(deployment)["gate"]["cells"]
    assert cell["timed_out"] is True and cell["signal"] == 9 and 3.4 <= cell["seconds"] < 6
    assert not processes.is_running(call.pid)
    wait_until(lambda: not group_members(call.pid), what="the group to be gone")


def group_members(group):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getpgid(int(name)) == group and processes.is_running(int(name)):
                    found.append(int(name))
            except ProcessLookupError:
                pass
    return found


def test_what_is_left_of_the_group_does_not_hold_up_the_result(bench):
    stand = bench()
    stand.suite.python(
        "01",
        "import os, signal\nprint('before', flush=True)\nif os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    print(os.getpid(), flush=True)\n"
        "    while True: signal.pause()\n",
    )
    result = outcome(stand.run(stand.target))
    assert result["Passed"] is True and result["Seconds"] < 1
    left = [int(word) for word in result["Output"].split() if word.isdigit()]
    assert all(not processes.is_running(pid) for pid in left)


def test_a_process_that_leaves_the_group_is_ended_too(bench):
    stand = bench()
    stand.suite.python(
        "01",
        "import os, signal, sys\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n        while True: signal.pause()\n    os._exit(0)\nos.wait()\n",
    )
    result = outcome(stand.run(stand.target))
    assert result["Passed"] is True and result["Seconds"] < 1
    assert not any(processes.is_running(int(word)) for word in result["Output"].split())


def test_the_total_timeout_fails_what_has_not_run(bench):
    stand = bench(uptests={"timeout": "10s", "total_timeout": "500ms"})
    stand.suite.shell("01")
    stand.suite.shell("02", f"exec cat {stand.never}")
    stand.suite.shell("03")
    results = stand.run(stand.target)
    assert [result["Passed"] for result in results] == [True, False, False]
    deployment = stand.admin.stage([stand.target.address])
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    assert "02" in stand.admin.deployment(deployment)["reason"]


def test_all_uptests_of_an_instance_run_one_after_the_other_also_after_a_failure(bench, puppets):
    stand = bench()
    for name in ("01", "02", "03"):
        stand.suite.add(name, puppets.program)
    deployment = stand.admin.stage([stand.target.address])
    ran = []
    for status in (0, 1, 0):
        call = puppets.next()
        ran.append(os.path.basename(call.program))
        assert puppets.calls.empty()
        states = [cell["state"] for cell in stand.admin.deployment(deployment)["gate"]["cells"]]
        assert states.count("running") == 1
        call.exit(status)
    assert ran == ["01", "02", "03"]
    assert stand.events.wait_end(deployment)["type"] == "deployment.rejected"
    states = [cell["state"] for cell in stand.admin.deployment(deployment)["gate"]["cells"]]
    assert states == ["passed", "failed", "passed"]


def test_instances_are_tested_side_by_side_at_most_parallel(bench, make_backend, puppets):
    stand = bench(uptests={"parallel": 3})
    stand.suite.add("01", puppets.program)
    targets = [make_backend() for _ in range(5)]
    deployment = stand.admin.stage([target.address for target in targets])
    calls = [puppets.next() for _ in range(3)]
    assert len({call.instance for call in calls}) == 3
    states = [cell["state"] for cell in stand.admin.deployment(deployment)["gate"]["cells"]]
    assert states.count("running") == 3 and states.count("waiting") == 2
    assert puppets.calls.empty()
    calls[1].exit(0)
    fourth = puppets.next()
    assert fourth.instance not in {call.instance for call in calls}
    puppets.let_go()
    for call in (calls[0], calls[2], fourth):
        call.exit(0)
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


def test_uptests_are_streamed_as_events_while_they_run(bench, puppets):
    stand = bench()
    stand.suite.add("01", puppets.program)
    deployment = stand.admin.stage([stand.target.address])
    call = puppets.next()
    started = stand.events.wait("uptest.started", deployment=deployment)
    assert started["instance"] == stand.target.address and started["uptest"] == "01"
    assert not stand.events.of("uptest.finished", deployment=deployment)
    call.order("echo hello")
    call.exit(0)
    finished = stand.events.wait("uptest.finished", deployment=deployment)
    assert finished["instance"] == stand.target.address and finished["uptest"] == "01"
    stand.events.wait("gate.passed", deployment=deployment)


def test_a_cell_keeps_all_that_is_known_of_it(bench):
    stand = bench()
    path = stand.suite.shell("01_odd", "echo why; exit 3")
    deployment = stand.admin.stage([stand.target.address])
    stand.events.wait_end(deployment)
    record = stand.admin.deployment(deployment)
    assert record["gate"]["passed"] is False
    (cell,) = record["gate"]["cells"]
    assert cell["instance"] == stand.target.address and cell["uptest"] == "01_odd"
    assert cell["state"] == "failed" and cell["exit"] == 3 and cell["signal"] is None
    assert cell["timed_out"] is False and cell["output"] == "why\n"
    assert cell["argv"] == [path, "127.0.0.1", str(stand.target.port)]
    assert 0 < cell["seconds"] < 5


def test_an_uptest_run_by_hand_changes_nothing(bench):
    stand = bench()
    stand.suite.shell("01", "exit 1")
    before, history = stand.admin.service(), stand.admin.history()
    stand.run(stand.target)
    after = stand.admin.service()
    assert stand.admin.history() == history
    assert [p["deployment"] for p in before["pools"]] == [p["deployment"] for p in after["pools"]]
    assert after["deployment"] is None and after["live"] == before["live"]


def test_uptests_by_hand_run_beside_a_deployment(bench, puppets):
    stand = bench()
    stand.suite.add("01", puppets.program)
    deployment = stand.admin.stage([stand.target.address])
    staged = puppets.next()
    by_hand = stand.daemon.spawn_upswap("--json", "uptest", "web", stand.live[0].address)
    other = puppets.next()
    assert other.instance == stand.live[0].address
    other.exit(0)
    out, _ = by_hand.communicate(timeout=10)
    assert processes.finish(by_hand) == 0 and json.loads(out)[0]["Passed"]
    staged.exit(0)
    assert stand.events.wait_end(deployment)["type"] == "deployment.done"


def test_an_aborted_deployments_uptests_are_ended(bench, puppets):
    stand = bench()
    stand.suite.add("01", puppets.program)
    deployment = stand.admin.stage([stand.target.address])
    call = puppets.next()
    assert stand.admin.command("abort").status == 200
    call.wait_end()
    wait_until(lambda: not processes.is_running(call.pid))
    assert stand.events.wait_end(deployment)["type"] == "deployment.aborted"


def write(stand, call, order):
    """Has the puppet carry it out, and waits until it has."""
    done = stand.daemon.path("written")
    call.order(f"{order}; touch {done}")
    wait_until(lambda: os.path.exists(done), what=f"{order} to be done")


def test_what_an_aborted_gate_has_come_to_is_told_and_kept(bench, puppets):
    stand = bench()
    stand.suite.shell("01", "echo all is well")
    stand.suite.add("02", puppets.program)
    stand.suite.shell("03", "echo never run")
    deployment = stand.admin.stage([stand.target.address])
    call = puppets.next()
    write(stand, call, "echo waits for the database")
    assert stand.admin.command("abort", reason="it hangs").status == 200
    told = stand.events.wait("uptest.finished", deployment=deployment, uptest="02")
    assert told["passed"] is False and "was given up: it hangs" in told["how"]
    assert not stand.events.of("uptest.finished", deployment=deployment, uptest="03")
    kept = os.path.join(stand.daemon.config["state_directory"], "deployments", f"{deployment}.json")
    for _ in range(2):
        gate = stand.admin.deployment(deployment)["gate"]
        cells = [(c["uptest"], c["state"], c["output"].strip()) for c in gate["cells"]]
        assert gate["passed"] is False and not gate["cells"][1]["timed_out"]
        assert cells[0] == ("01", "passed", "all is well") and cells[2] == ("03", "waiting", "")
        assert cells[1] == ("02", "failed", "waits for the database")
        wait_until(lambda: os.path.exists(kept), what="the gate to be kept")
        stand.daemon.kill_role("control")


def test_a_symbolic_link_to_an_uptest_is_an_uptest(bench):
    stand = bench()
    os.symlink("/bin/true", os.path.join(stand.suite.folder, "01"))
    assert outcome(stand.run(stand.target))["Passed"] is True
    os.unlink(os.path.join(stand.suite.folder, "01"))
    os.symlink("/nonexistent", os.path.join(stand.suite.folder, "01"))
    assert outcome(stand.run(stand.target))["Passed"] is False


@as_root
def test_a_fork_bomb_is_contained(bench):
    stand = bench(uptests={"user": "nobody", "timeout": "500ms"})
    stand.suite.shell("01", "bomb() { bomb & bomb & wait; }; bomb")
    result = outcome(stand.run(stand.target))
    assert result["Passed"] is False
    assert stand.ask().status == 200
    uid = pwd.getpwnam("nobody").pw_uid
    proxy = stand.daemon.pids["proxy"]

    def left():
        count = 0
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid and int(name) != proxy:
                    with open(f"/proc/{name}/cmdline", "rb") as file:
                        count += b"/01" in file.read()
            except (FileNotFoundError, ProcessLookupError):
                pass
        return count

    wait_until(lambda: left() == 0, what="the fork bomb to be gone")
