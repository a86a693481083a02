"""An instance is never upswap itself, whose requests would come back to it without an end."""

import os
import socket

import pytest

from harness.config import config_text
from harness.daemon import upswapd

STAGED = 'instances: "{0}" is upswap itself, which listens on {1}; name the address where the app listens'


def is_refused(stand, address, listening):
    answer = stand.admin.try_stage([address])
    assert (answer.status, answer.detail) == (422, STAGED.format(address, listening))


@pytest.mark.parametrize("listening", ["127.0.0.1:0", "0.0.0.0:0"])
def test_a_listener_cannot_be_staged_by_any_of_its_addresses(make_stand, listening):
    stand = make_stand(listeners=[{"address": listening}])
    stand.suite.shell("01_pass")
    stand.start()
    hosts = ["127.0.0.1", "localhost", "0.0.0.0", *(["127.0.0.2"] if listening.startswith("0") else [])]
    for host in hosts:
        is_refused(stand, f"{host}:{stand.port}", listening)
    result = stand.daemon.upswap("stage", "web", f"127.0.0.1:{stand.port}")
    assert result.returncode == 1 and "is upswap itself" in result.stderr
    assert stand.ask().text == "live-0"


def test_an_address_beside_a_listener_can_be_staged(make_stand, make_backend):
    """Its port is that of the listener, its address is not."""
    stand = make_stand()
    stand.suite.shell("01_pass")
    stand.start()
    other = make_backend("other", host="127.0.0.2", port=stand.port)
    stand.wait_state(stand.admin.stage([other.address]), "done")
    assert stand.ask().text == "other"


def test_the_api_cannot_be_staged(make_stand):
    stand = make_stand(admin={"listen": "127.0.0.1:0", "token_file": "/dev/null"})
    stand.daemon.config["admin"].update(socket=stand.daemon.socket, token_file=stand.daemon.path("token"))
    with open(stand.daemon.path("token"), "w", encoding="utf-8") as file:
        file.write("a-token-that-is-long-enough-to-be-one\n")
    stand.suite.shell("01_pass")
    stand.start()
    bound = stand.admin.status()["admin"]["bound"]
    is_refused(stand, bound, "127.0.0.1:0")
    is_refused(stand, f"unix:{stand.daemon.socket}", stand.daemon.socket)
    os.symlink(stand.daemon.folder, stand.daemon.path("link"))
    is_refused(stand, f"unix:{stand.daemon.path('link', 'admin.sock')}", stand.daemon.socket)


def test_a_launch_that_prints_a_listener_is_rejected(make_stand):
    stand = make_stand()
    program = stand.daemon.path("launch")
    stand.daemon.config["services"][0]["launch"] = {"command": [program]}
    with open(program, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\necho 127.0.0.1:$(cat {stand.daemon.path('port')})\n")
    os.chmod(program, 0o755)
    stand.suite.shell("01_pass")
    stand.start()
    with open(stand.daemon.path("port"), "w", encoding="utf-8") as file:
        file.write(str(stand.port))
    answer = stand.admin.post("/v1/services/web/deployments", {"launch": True, "release": "v2"})
    stand.wait_state(answer.json["deployment"], "rejected")
    assert f'"127.0.0.1:{stand.port}" is upswap itself' in stand.admin.deployment(answer.json["deployment"])["reason"]
    assert stand.ask().text == "live-0"


@pytest.fixture
def free_port():
    """One that nobody listens on."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    return port


@pytest.mark.parametrize("listening, instance", [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.3"), ("[::]", "[::1]")])
def test_a_config_whose_instance_is_its_listener_is_refused_with_its_line(make_daemon, free_port, listening, instance):
    daemon = make_daemon([{"name": "web", "instances": [f"{instance}:{free_port}"]}])
    daemon.config["listeners"] = [{"address": f"{listening}:{free_port}"}]
    daemon.write_config()
    for option in (["-t"], []):
        ended = upswapd(*option, "-c", daemon.config_path)
        assert ended.returncode == 1
        assert (
            f'service "web": instance "{instance}:{free_port}" is upswap itself, which listens on {listening}:{free_port}; '
            "name the address where the app listens" in ended.stderr
        )
        assert max(line.count(f"{daemon.config_path}:") for line in ended.stderr.splitlines()) == 1


def test_a_name_that_leads_to_a_listener_is_refused_at_a_reload(stand):
    def add(config):
        config["services"].append({**config["services"][0], "name": "more", "hosts": ["more.test"], "instances": [f"localhost:{stand.port}"]})

    stand.daemon.write_config(stand.daemon.changed_config(add))
    answer = stand.admin.post("/v1/reload")
    assert answer.status == 422 and f'instance "localhost:{stand.port}" is upswap itself' in answer.detail


@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0"])
def test_a_reload_that_would_listen_where_a_live_instance_is_is_refused_and_a_restart_goes_on(stand, make_backend, listening):
    new = make_backend("new")
    stand.wait_state(stand.admin.stage([new.address]), "done")
    new.close()  # so that the port is free
    address = f"{listening}:{new.port}"
    stand.daemon.write_config(stand.daemon.changed_config(lambda config: config["listeners"].append({"address": address})))
    answer = stand.admin.post("/v1/reload")
    assert answer.status == 422
    assert f'{address} is where instance "{new.address}" of pool web-1 is, which is live: upswap would send requests to itself' in answer.detail
    place, line = answer.detail.split(": ")[0].rsplit(":", 1)
    assert address in open(place, encoding="utf-8").read().splitlines()[int(line) - 1]
    assert len(stand.daemon.ports()) == 1
    stand.daemon.stop()
    stand.daemon.start(write=False)
    assert stand.admin.post("/v1/reload").status == 200, "which brings nothing new"


def test_a_listener_may_have_the_address_of_an_instance_whose_service_is_not_in_the_file(make_daemon, make_backend):
    gone, other = make_backend("gone"), make_backend("other")
    services = [{"name": name, "hosts": [f"{name}.test"], "instances": [each.address]} for name, each in (("gone", gone), ("web", other))]
    daemon = make_daemon(services)
    daemon.start()
    del daemon.config["services"][0]
    daemon.write_config()
    assert daemon.admin.post("/v1/reload").status == 200
    gone.close()
    daemon.config["listeners"].append({"address": gone.address})
    daemon.write_config()
    assert daemon.admin.post("/v1/reload").status == 200
    assert len(daemon.ports()) == 2


def test_a_listener_may_move_away_and_an_instance_come_in_one_reload(make_daemon, make_backend, free_port):
    daemon = make_daemon([{"name": "web", "instances": [make_backend("one").address], "hosts": ["web.test"]}])
    daemon.config["listeners"] = [{"address": f"127.0.0.1:{free_port}"}]
    daemon.start()
    daemon.config["listeners"] = [{"address": "127.0.0.1:0"}]
    daemon.config["services"].append({"name": "more", "instances": [f"127.0.0.1:{free_port}"], "hosts": ["more.test"]})
    daemon.write_config(config_text(daemon.config))
    assert daemon.admin.post("/v1/reload").status == 200
