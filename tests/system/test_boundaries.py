"""What lies between a record and what follows from it: two deaths at once, a stop in the middle of records, an
event that was lost, two changes that meet. Promises 5 and 6."""

import os
import signal
import threading

from harness.backend import Held
from harness.client import RawClient
from harness.waiting import wait_until


def test_what_died_with_the_proxy_holds_no_pool_when_control_died_too(make_stand, make_backend):
    held = Held()
    stand = make_stand(service={"drain": {"requests": "60s"}})
    stand.suite.shell("01_pass")
    stand.live[0].on("/held", held)
    stand.start()
    stand.daemon.kill_role("control")  # the next one is started after a pause: after the proxy
    with RawClient(stand.daemon.port) as client:
        client.request(target="/held")
        held.wait()
        pids = stand.daemon.pids
        os.kill(pids["control"], signal.SIGKILL)
        os.kill(pids["proxy"], signal.SIGKILL)
        stand.daemon.wait_new("control", pids["control"])
        stand.daemon.wait_new("proxy", pids["proxy"])
        held.release()
    assert stand.admin.pool("web-0")["in_flight"] == 0
    deployment = stand.admin.stage([make_backend("fresh").address])
    assert stand.events.wait("instance.retired", deployment="web-0")["drained"] == "clean"
    stand.wait_state(deployment, "done")


def test_a_first_stage_and_a_reload_that_names_instances_may_meet(make_daemon, make_backend):
    first, staged = make_backend("first"), make_backend("staged")
    empty = [{"name": f"web-{number}", "paths": [f"/{number}"]} for number in range(12)]
    daemon = make_daemon([{**each, "uptests": {"required": False}} for each in empty])
    daemon.start()
    named = daemon.changed_config(
        lambda config: [each.update(instances=[first.address]) for each in config["services"]]
    )
    daemon.write_config(named)
    threads = [
        threading.Thread(target=daemon.admin.try_stage, args=([staged.address], each["name"])) for each in empty
    ]
    threads.insert(6, threading.Thread(target=daemon.admin.post, args=("/v1/reload",)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    daemon.crash()
    daemon.start(write=False)
    for each in empty:
        wait_until(lambda: daemon.admin.live(each["name"]) is not None)


def test_a_stop_while_records_are_written_is_a_clean_one(make_stand, make_backend):
    stand = make_stand(live=20)
    stand.suite.shell("01_pass")
    stand.start()
    stand.admin.stage([make_backend("fresh").address])
    stand.events.wait("instance.retired")
    assert stand.daemon.stop() == 0
    assert "control ended with status 0" in stand.daemon.stderr()


def test_an_event_of_a_retired_instance_that_a_crash_took_is_told_again(make_stand, make_backend, puppets):
    stand = make_stand()
    stand.suite.shell("01_pass")
    stand.install_hook(puppets.program)
    stand.start()
    stand.admin.stage([make_backend("fresh").address])
    puppets.next()
    stand.daemon.crash()
    path = stand.daemon.path("state", "events.jsonl")
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    at = next(i for i, line in enumerate(lines) if "instance.retired" in line)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(lines[:at])
    stand.daemon.start(write=False)
    puppets.next().exit(0)
    events = stand.daemon.events()
    assert events.wait("instance.retired", deployment="web-0")["instance"] == stand.live[0].address


def test_one_address_under_two_names_is_refused_as_a_first_pool(make_daemon, make_backend):
    backend = make_backend("twin")
    daemon = make_daemon([{"name": "web", "instances": [backend.address, f"localhost:{backend.port}"]}])
    daemon.write_config()
    daemon.spawn()
    assert daemon.wait_end() == 1
    assert "one and the same" in daemon.stderr()


def test_counts_of_a_retired_pool_stay_to_be_scraped(stand, make_backend):
    for _ in range(3):
        assert stand.ask().status == 200
    stand.admin.stage([make_backend("fresh").address])
    stand.events.wait("deployment.done")
    assert stand.admin.pool("web-0") is None
    metrics = stand.admin.metrics()
    old = {("service", "web"), ("pool", "web-0")}
    assert metrics["upswap_requests_total", frozenset(old | {("code", "200")})] == 3
    assert metrics["upswap_request_duration_seconds_count", frozenset(old)] == 3
    assert ("upswap_in_flight", frozenset(old)) not in metrics
    info = [labels for name, labels in metrics if name == "upswap_pool_info"]
    assert not any(("pool", "web-0") in labels for labels in info)
