"""Many instances, many uptests, many connections."""

import os
import select
import selectors
import socket
import threading

import pytest

from harness.admin import Admin
from harness.backend import Backend
from harness.client import RawClient, ask
from harness.load import Load
from harness.waiting import wait_until


class Crowd:
    """Many instances in one thread: each a listening port whose answer is the same few bytes."""

    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Release: crowd\r\n\r\ncrowd\n"

    def __init__(self, count):
        self.selector = selectors.DefaultSelector()
        self.served = {}
        self.addresses = []
        self.stopping = False
        for _ in range(count):
            listener = socket.create_server(("127.0.0.1", 0), backlog=64)
            listener.setblocking(False)
            self.selector.register(listener, selectors.EVENT_READ, None)
            self.addresses.append("127.0.0.1:%d" % listener.getsockname()[1])
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping:
            for key, _ in self.selector.select(0.2):
                if key.data is None:
                    sock, _ = key.fileobj.accept()
                    sock.setblocking(False)
                    port = key.fileobj.getsockname()[1]
                    self.selector.register(sock, selectors.EVENT_READ, [port, b""])
                else:
                    self._serve(key)

    def _serve(self, key):
        try:
            data = key.fileobj.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(key.fileobj)
            key.fileobj.close()
            return
        key.data[1] += data
        while b"\r\n\r\n" in key.data[1]:
            head, _, key.data[1] = key.data[1].partition(b"\r\n\r\n")
            port = key.data[0]
            agent = b"uptest" if b"User-Agent: uptest" in head else b"client"
            self.served[port, agent] = self.served.get((port, agent), 0) + 1
            key.fileobj.send(self.ANSWER)

    def close(self):
        self.stopping = True
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()


ALIVE = """exec 3<>"/dev/tcp/$1/$2" || exit 1
printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\nUser-Agent: uptest\\r\\n\\r\\n' >&3
read -r _ status _ <&3
[ "$status" = 200 ]"""


def test_300_instances_with_5_uptests_each_finish_while_load_goes_on(make_stand, make_app):
    apps = make_app("v1", 2)
    stand = make_stand(live=0, uptests={"parallel": 16, "total_timeout": "300s"})
    stand.daemon.config["services"][0]["instances"] = [app.address for app in apps]
    for number in range(5):
        stand.suite.add(f"0{number}", f"#!/bin/bash\n{ALIVE}\n")
    stand.start()
    crowd = Crowd(300)
    try:
        with Load(stand.port, plan=("kept", "fresh", "post", "slow"), pace=0.02) as load:
            wait_until(lambda: len(load.exchanges) > 50)
            deployment = stand.admin.stage(crowd.addresses, hold=True)
            stand.events.wait("deployment.held", deployment=deployment, timeout=120)
        load.assert_flawless()
        assert set(load.releases()) == {"v1"}
        assert all(crowd.served.get((int(a.rpartition(":")[2]), b"uptest")) == 5 for a in crowd.addresses)
        assert not [key for key in crowd.served if key[1] == b"client"]
        cells = stand.admin.deployment(deployment)["gate"]["cells"]
        assert len(cells) == 1500 and {cell["state"] for cell in cells} == {"passed"}
        assert stand.admin.command("promote").status == 200
        stand.events.wait_end(deployment)
        with RawClient(stand.port) as client:
            for _ in range(600):
                assert client.ask().text == "crowd\n"
        assert sum(1 for key in crowd.served if key[1] == b"client") == 300
    finally:
        crowd.close()


def test_a_thousand_client_connections_are_served_and_idle_ones_cost_little(start_own_front):
    front = start_own_front(Backend("one"))
    clients = [front.client() for _ in range(1000)]
    try:
        for client in clients:
            client.request()
        for client in clients:
            assert client.response().text == "one"
        with open(f"/proc/{front.daemon.pids['proxy']}/statm", "rb") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert resident < 64 << 20
    finally:
        for client in clients:
            client.close()


def crowd_of_clients(make_daemon, make_backend, descriptors, **settings):
    """A daemon with so many descriptors, and half as many clients again that have all asked."""
    backend = make_backend("scarce")
    daemon = make_daemon([{"name": "web", "instances": [backend.address]}], **settings)
    daemon.prefix = ["prlimit", f"--nofile={descriptors}:{descriptors}"]
    daemon.start()
    clients = [RawClient(daemon.port) for _ in range(descriptors * 3 // 2)]
    for client in clients:
        client.request()
    return daemon, backend, clients


@pytest.mark.parametrize("workers", [1, 2])
def test_more_clients_than_descriptors_wait_for_a_place_and_are_all_served(make_daemon, make_backend, workers):
    """Also when another worker has connections to the app to spare."""
    daemon, backend, clients = crowd_of_clients(make_daemon, make_backend, 400, workers=workers)
    wait_until(lambda: len(backend.requests) > 10, what="the first requests")
    assert len(backend.requests) < len(clients)
    waiting = {client.socket: client for client in clients}
    while waiting:  # whoever is served makes room for another
        served = select.select(list(waiting), [], [], 10)[0]
        assert served, f"{len(waiting)} clients are not served"
        for client in map(waiting.pop, served):
            assert client.response().text == "scarce"
            client.close()
    assert ask(daemon.port).text == "scarce"


def test_running_out_of_descriptors_is_told_and_passes(make_daemon, make_backend):
    daemon, _, clients = crowd_of_clients(make_daemon, make_backend, 100, limits={"connections": 10000})
    proxy = daemon.pids["proxy"]
    for client in clients:
        response = client.response()
        assert response.status == 200 or (response.status, response.upswap) == (503, "overloaded")
        client.close()
    wait_until(lambda: ask(daemon.port).status == 200, what="descriptors to be there again")
    assert daemon.pids["proxy"] == proxy


def test_a_new_world_reaches_a_proxy_whose_descriptors_are_all_with_clients(make_daemon, make_backend):
    """Each comes with a descriptor; and it is under such a load that a rollback is wanted."""
    daemon, _, clients = crowd_of_clients(make_daemon, make_backend, 100, limits={"connections": 10000})
    admin, proxy = Admin(daemon.socket), daemon.pids["proxy"]
    waiting = {client.socket: client for client in clients}
    answer = None
    while answer is None or answer.upswap != "overloaded":
        (first, *_), _, _ = select.select(list(waiting), [], [], 10)
        client = waiting.pop(first)
        answer = client.response()
    for on in (True, False, True):
        admin.command("maintenance", on=on)
        wait_until(lambda: (client.ask().upswap == "maintenance") is on, what="the new world")
    assert daemon.pids["proxy"] == proxy
    for client in clients:
        client.close()


def test_a_hundred_services_route_to_their_own_pools(make_daemon, make_backend):
    backends = [make_backend(f"s{number}") for number in range(100)]
    daemon = make_daemon(
        [
            {"name": f"s{number}", "hosts": [f"s{number}.test"], "instances": [backend.address]}
            for number, backend in enumerate(backends)
        ]
    ).start()
    with RawClient(daemon.port) as client:
        for number in range(100):
            assert client.ask(host=f"s{number}.test").text == f"s{number}"
