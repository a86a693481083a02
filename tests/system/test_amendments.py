"""Worlds that amend the one before: most services are read where they have been."""

from harness.client import ask
from harness.waiting import wait_until

SERVICES = 36  # more than one amendment names


def hosts():
    return [f"s{number}.test" for number in range(SERVICES)]


def start(make_daemon, make_backend):
    """A daemon with many services on one instance, and another instance for their deployments."""
    old, new = make_backend("old"), make_backend("new")
    services = [
        {"name": host.split(".")[0], "hosts": [host], "instances": [old.address], "uptests": {"required": False}} for host in hosts()
    ]
    daemon = make_daemon(services).start()
    return daemon, old, new


def swap(daemon, numbers, address):
    events = daemon.events()
    for deployment in [daemon.admin.stage([address], f"s{number}", allow_untested=True) for number in numbers]:
        events.wait("swap.published", deployment=deployment)


def who_answers(daemon):
    return [ask(daemon.port, host=host).text for host in hosts()]


def whole_images(daemon):
    """Inodes of the images that the proxy has mapped: those that are whole."""
    with open(f"/proc/{daemon.pids['proxy']}/maps", encoding="ascii") as file:
        return {line.split()[4] for line in file if "memfd:upswap-world" in line}


def test_each_of_many_services_is_as_its_own_last_swap_left_it_whoever_has_died_since(make_daemon, make_backend):
    daemon, old, new = start(make_daemon, make_backend)
    expected = ["old"] * SERVICES
    assert who_answers(daemon) == expected
    swap(daemon, range(20), new.address)
    expected[:20] = ["new"] * 20
    assert who_answers(daemon) == expected
    daemon.kill_role("proxy")
    assert who_answers(daemon) == expected
    swap(daemon, range(20, SERVICES), new.address)
    assert who_answers(daemon) == ["new"] * SERVICES
    wait_until(lambda: all(len(service["pools"]) == 1 for service in daemon.admin.status()["services"]), what="the old pools to be gone")
    swap(daemon, range(3), old.address)
    expected = ["old"] * 3 + ["new"] * (SERVICES - 3)
    assert who_answers(daemon) == expected
    daemon.kill_role("control")
    assert who_answers(daemon) == expected
    daemon.kill_role("proxy")
    assert who_answers(daemon) == expected
    assert "is refused" not in daemon.stderr()


def test_a_swap_maps_no_image_and_a_reload_leaves_one(make_daemon, make_backend):
    daemon, _, new = start(make_daemon, make_backend)
    before = whole_images(daemon)
    assert len(before) == 1
    swap(daemon, range(3), new.address)
    assert whole_images(daemon) == before
    assert daemon.admin.post("/v1/reload").status == 200
    wait_until(lambda: len(whole_images(daemon)) == 1 and whole_images(daemon) != before, what="the image before the reload to be unmapped")
    assert who_answers(daemon) == ["new"] * 3 + ["old"] * (SERVICES - 3)


def test_a_mode_is_of_its_service_alone_and_maps_nothing_either(make_daemon, make_backend):
    daemon, _, new = start(make_daemon, make_backend)
    before = whole_images(daemon)
    swap(daemon, [0], new.address)
    assert daemon.admin.command("maintenance", "s1", on=True, message="gone fishing").status == 200
    assert ask(daemon.port, host="s1.test").status == 503
    assert [ask(daemon.port, host=host).text for host in ("s0.test", "s2.test")] == ["new", "old"]
    assert daemon.admin.command("maintenance", "s1", on=False).status == 200
    assert ask(daemon.port, host="s1.test").text == "old"
    assert whole_images(daemon) == before
