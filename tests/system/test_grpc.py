"""gRPC end to end: python3-grpcio on both sides, HTTP/2 to clients and to instances."""

import concurrent.futures
import contextlib
import itertools
import json
import queue
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from harness.certificates import Authority
from harness.client import ask
from harness.http2 import Http2Client
from harness.waiting import PATIENCE, wait_until


class Handler(grpc.GenericRpcHandler):
    """Without generated code: messages are bytes."""

    def __init__(self, instance):
        self.methods = {
            "/test/unary": grpc.unary_unary_rpc_method_handler(instance.unary),
            "/test/down": grpc.unary_stream_rpc_method_handler(instance.down),
            "/test/up": grpc.stream_unary_rpc_method_handler(instance.up),
            "/test/both": grpc.stream_stream_rpc_method_handler(instance.both),
            "/test/fail": grpc.unary_unary_rpc_method_handler(instance.fail),
            "/test/hang": grpc.unary_unary_rpc_method_handler(instance.hang),
        }

    def service(self, details):
        return self.methods.get(details.method)


class GrpcInstance:
    def __init__(self, name, identity=None):
        self.name = name.encode()
        self.cancelled = threading.Event()
        self.began = threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(32))
        self.server.add_generic_rpc_handlers((Handler(self),))
        self.address = f"127.0.0.1:{self._listen(identity)}"
        self.server.start()

    def _listen(self, identity):
        if identity is None:
            return self.server.add_insecure_port("127.0.0.1:0")
        pair = []
        for path in (identity.key_path, identity.certificate_path):
            with open(path, "rb") as file:
                pair.append(file.read())
        return self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tuple(pair)]))

    def close(self):
        self.server.stop(0).wait(PATIENCE)

    def unary(self, request, context):
        context.send_initial_metadata([("x-first", "1")])
        context.set_trailing_metadata([("x-last", "2")])
        return self.name + b" " + request

    def down(self, request, _):
        for number in range(int(request)):
            yield b"%d" % number + b"." * 1000

    def up(self, requests, _):
        return b"%d" % sum(len(request) for request in requests)

    def both(self, requests, _):
        for request in requests:
            yield self.name + b" " + request

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: \u00e4 % b")

    def hang(self, request, context):
        context.add_callback(self.cancelled.set)
        self.began.set()
        self.cancelled.wait(30)
        return b""


@pytest.fixture
def make_instance():
    made = []

    def make(name, identity=None):
        made.append(GrpcInstance(name, identity))
        return made[-1]

    yield make
    for instance in made:
        instance.close()


@pytest.fixture
def instance(make_instance):
    return make_instance("one")


@pytest.fixture
def daemon(make_daemon, instance):
    return make_daemon([{"name": "web", "upstream": "h2", "instances": [instance.address]}]).start()


@pytest.fixture
def channel(daemon):
    with grpc.insecure_channel(f"127.0.0.1:{daemon.port}") as made:
        yield made


def test_one_request_one_answer_with_both_kinds_of_metadata(channel):
    answer, call = channel.unary_unary("/test/unary").with_call(b"hi", timeout=PATIENCE)
    assert answer == b"one hi"
    assert ("x-first", "1") in call.initial_metadata() and ("x-last", "2") in call.trailing_metadata()
    big = b"x" * 3000000
    assert channel.unary_unary("/test/unary")(big, timeout=PATIENCE) == b"one " + big


def test_one_request_many_answers(channel):
    answers = list(channel.unary_stream("/test/down")(b"1000", timeout=PATIENCE))
    assert answers == [b"%d" % number + b"." * 1000 for number in range(1000)]


def test_many_streams_that_all_come_at_once_come_whole(channel):
    down = channel.unary_stream("/test/down")
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        counts = pool.map(lambda _: sum(len(each) for each in down(b"400", timeout=PATIENCE)), range(40))
        assert set(counts) == {sum(len(b"%d" % number) + 1000 for number in range(400))}


def test_many_requests_one_answer(channel):
    requests = (b"x" * 1000 for _ in range(1000))
    assert channel.stream_unary("/test/up")(requests, timeout=PATIENCE) == b"1000000"


def test_many_requests_many_answers_in_lock_step(channel):
    requests = queue.Queue()
    call = channel.stream_stream("/test/both")(iter(requests.get, None), timeout=PATIENCE)
    for number in range(100):
        requests.put(b"%d" % number)
        assert next(call) == b"one %d" % number
    requests.put(None)
    assert list(call) == [] and call.code() == grpc.StatusCode.OK


def test_a_client_of_many_small_messages_is_no_flood(make_daemon, instance):
    """C-core opens its windows along with what it writes, and upswap joins what the instance writes."""
    service = {"name": "web", "upstream": "h2", "instances": [instance.address]}
    daemon = make_daemon([service], workers=1, http2={"window_updates": 50}).start()
    with grpc.insecure_channel(f"127.0.0.1:{daemon.port}") as channel:
        unary = channel.unary_unary("/test/unary")
        assert {unary(b"x", timeout=PATIENCE) for _ in range(200)} == {b"one x"}
        answers = channel.stream_stream("/test/both")(iter([b"x"] * 2000), timeout=PATIENCE)
        assert sum(answer == b"one x" for answer in answers) == 2000
    assert not any(count for (name, _), count in daemon.admin.metrics().items() if name == "upswap_http2_floods_total")


def test_errors_arrive_with_their_words(channel):
    with pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/test/fail")(b"", timeout=PATIENCE)
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "no: \u00e4 % b")
    with pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/test/none")(b"", timeout=PATIENCE)
    assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_reaches_the_instance(channel, instance):
    with pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/test/hang")(b"", timeout=0.5)
    assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert instance.cancelled.wait(PATIENCE)


def test_a_cancelled_call_is_cancelled_at_the_instance(channel, instance):
    call = channel.unary_unary("/test/hang").future(b"")
    assert instance.began.wait(PATIENCE)
    call.cancel()
    assert instance.cancelled.wait(PATIENCE)


def test_many_calls_share_one_connection_to_the_instance(daemon, channel):
    calls = [channel.unary_unary("/test/unary").future(b"%d" % number, timeout=PATIENCE) for number in range(200)]
    assert [call.result() for call in calls] == [b"one %d" % number for number in range(200)]
    assert daemon.admin.pool(daemon.admin.live())["errors"] == 0


def test_a_swap_fails_no_call_and_lets_streams_go_on(make_daemon, make_instance):
    """A call that is open across the swap ends on the old pool, new ones go to the new one."""
    old, new = make_instance("old"), make_instance("new")
    service = {"name": "web", "upstream": "h2", "instances": [old.address], "uptests": {"required": False}}
    daemon = make_daemon([service]).start()
    stop = threading.Event()
    with grpc.insecure_channel(f"127.0.0.1:{daemon.port}") as channel:

        def unary():
            names = []
            while not stop.is_set():
                names.append(channel.unary_unary("/test/unary")(b"x", timeout=PATIENCE))
            return names

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            loads = [pool.submit(unary) for _ in range(4)]
            requests = queue.Queue()
            stream = channel.stream_stream("/test/both")(iter(requests.get, None), timeout=2 * PATIENCE)
            requests.put(b"1")
            assert next(stream) == b"old 1"
            daemon.admin.stage([new.address])
            call = channel.unary_unary("/test/unary")
            wait_until(lambda: call(b"x", timeout=PATIENCE) == b"new x", what="the new pool")
            requests.put(b"2")
            assert next(stream) == b"old 2"
            requests.put(None)
            assert list(stream) == [] and stream.code() == grpc.StatusCode.OK
            stop.set()
            for load in loads:
                names = [name for name, _ in itertools.groupby(load.result())]
                assert names == [b"old x", b"new x"], "a call went back to the old pool"
        wait_until(lambda: len(daemon.admin.service()["pools"]) == 1, what="the old pool's drain")


@pytest.fixture
def swapped(make_daemon, make_instance):
    """swapped(drain, count): streams of an old pool, with a message of either side, and a call that hangs, after a
    swap."""
    with contextlib.ExitStack() as stack:

        def open_stream(channel):
            requests = queue.Queue()
            stack.callback(requests.put, None)
            answers = channel.stream_stream("/test/both")(iter(requests.get, None), timeout=PATIENCE)
            requests.put(b"1")
            assert next(answers) == b"old 1"
            return SimpleNamespace(requests=requests, answers=answers)

        def swapped(drain, count=1):
            old, new = make_instance("old"), make_instance("new")
            service = {"name": "web", "upstream": "h2", "instances": [old.address], "uptests": {"required": False}}
            daemon = make_daemon([{**service, "drain": {"spread": "0s", **drain}}]).start()
            channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{daemon.port}"))
            streams = [open_stream(channel) for _ in range(count)]
            hung = channel.unary_unary("/test/hang").future(b"", timeout=PATIENCE)
            assert old.began.wait(PATIENCE)
            daemon.admin.stage([new.address])
            return SimpleNamespace(daemon=daemon, channel=channel, streams=streams, hung=hung)

        yield swapped


def test_a_stream_whose_drain_is_over_ends_behind_a_message_as_unavailable(swapped):
    calls = swapped({"requests": "100ms", "streams": "2s"})
    with pytest.raises(grpc.RpcError) as failed:
        calls.hung.result()
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
    stream = calls.streams[0]
    stream.requests.put(b"2")
    assert next(stream.answers) == b"old 2"
    with pytest.raises(grpc.RpcError) as failed:
        next(stream.answers)
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
    assert failed.value.details() == "The server of this stream is going; call again, and another one serves."
    assert calls.channel.unary_unary("/test/unary")(b"x", timeout=PATIENCE) == b"new x"
    wait_until(lambda: len(calls.daemon.admin.service()["pools"]) == 1, what="the old pool's drain")


def test_a_stream_has_the_time_of_a_request_before_its_end_is_drawn(swapped):
    calls = swapped({"requests": "1s", "streams": "1200ms", "spread": "60s"}, count=10)
    began, ended = time.monotonic(), []
    for stream in calls.streams:
        stream.answers.add_callback(lambda: ended.append(time.monotonic()))
    for stream in calls.streams:
        assert stream.answers.code() == grpc.StatusCode.UNAVAILABLE
    wait_until(lambda: len(ended) == 10, what="the callbacks")
    assert min(ended) - began > 0.7


def test_an_instance_that_is_gone_is_told_with_a_status(make_daemon, make_instance):
    instance = make_instance("gone")
    daemon = make_daemon([{"name": "web", "upstream": "h2", "instances": [instance.address]}]).start()
    instance.close()
    with grpc.insecure_channel(f"127.0.0.1:{daemon.port}") as channel, pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/test/unary")(b"", timeout=PATIENCE)
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
    assert failed.value.details() == "No instance accepted a connection."
    assert dict(failed.value.trailing_metadata())["x-upswap"] == "connect-refused"


def test_what_upswap_answers_itself_has_the_status_that_fits_and_its_sentence(make_daemon, make_instance):
    instance = make_instance("strict")
    service = {"name": "web", "upstream": "h2", "paths": ["/test"], "instances": [instance.address]}
    daemon = make_daemon([{**service, "timeouts": {"first_byte": "200ms"}}], limits={"body": 1000}).start()

    def failure_of(method, body=b""):
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary(method)(body, timeout=PATIENCE)
        return failed.value.code(), failed.value.details()

    with grpc.insecure_channel(f"127.0.0.1:{daemon.port}") as channel:
        assert channel.unary_unary("/test/unary")(b"x" * 900, timeout=PATIENCE) == b"strict " + b"x" * 900
        assert failure_of("/other/unary") == (
            grpc.StatusCode.UNIMPLEMENTED,
            "No service takes this host and path.",
        )
        assert failure_of("/test/unary", b"x" * 2000) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "The body of the request is over the limit.",
        )
        assert failure_of("/test/hang") == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "The instance did not begin to answer in time.",
        )


def test_an_own_answer_to_grpc_is_trailers_alone_and_logged_as_the_status_it_stands_for(make_daemon):
    daemon = make_daemon([{"name": "web", "paths": ["/test"]}])
    log = Path(daemon.path("access.log"))
    daemon.config["access_log"] = {"path": str(log), "format": "json"}
    daemon.start()
    with Http2Client(daemon.port) as client:
        answer = client.ask("POST", "/a/b", [("content-type", "application/grpc+proto"), ("te", "trailers")])
        assert (answer.status, answer.body, answer.trailers) == (200, b"", None)
        assert (answer.get("content-type"), answer.get("grpc-status")) == ("application/grpc", "12")
        assert answer.get("grpc-message") == "No service takes this host and path."
        assert answer.get("x-upswap") == "no-route" and answer.get("x-request-id")
        assert client.ask("POST", "/a/b", [("content-type", "application/grpc-web")]).status == 404
        many = [("content-type", "application/grpc"), *((f"x-{number}", "") for number in range(100))]
        answer_to_many = client.ask("POST", "/a/b", many)
        assert (answer_to_many.get("x-upswap"), answer_to_many.get("grpc-status")) == ("too-many-fields", "8")
    wait_until(lambda: log.exists() and b"\n" in log.read_bytes(), what="the line of the log")
    entry = json.loads(log.read_text(encoding="ascii").splitlines()[0])
    assert (entry["status"], entry["reason"], entry["request_id"]) == (404, "no-route", answer.get("x-request-id"))


@pytest.fixture
def authority(tmp_path):
    return Authority(str(tmp_path))


def over_tls(instance, authority):
    return {"name": "web", "upstream": "h2", "instances": [instance.address], "tls": {"ca_file": authority.path}}


def test_calls_go_to_instances_over_tls(make_daemon, make_instance, authority):
    instance = make_instance("safe", authority.issue("127.0.0.1"))
    daemon = make_daemon([over_tls(instance, authority)]).start()
    with grpc.insecure_channel(f"127.0.0.1:{daemon.port}") as channel:
        unary = channel.unary_unary("/test/unary")
        calls = [unary.future(b"%d" % number, timeout=PATIENCE) for number in range(200)]
        assert [call.result() for call in calls] == [b"safe %d" % number for number in range(200)]
        big = b"x" * 3000000
        assert unary(big, timeout=PATIENCE) == b"safe " + big
        requests = queue.Queue()
        stream = channel.stream_stream("/test/both")(iter(requests.get, None), timeout=PATIENCE)
        for number in range(20):
            requests.put(b"%d" % number)
            assert next(stream) == b"safe %d" % number
        requests.put(None)
        assert list(stream) == [] and stream.code() == grpc.StatusCode.OK


def assert_not_reached(daemon, word, reason):
    answer = ask(daemon.port)
    assert (answer.status, answer.upswap) == (502, word)
    wait_until(lambda: reason in daemon.stderr(), what=f"{reason!r} in the log")


def test_an_instance_of_a_stranger_is_not_believed_over_http2_either(make_daemon, make_instance, authority, tmp_path):
    (tmp_path / "stranger").mkdir()
    stranger = Authority(str(tmp_path / "stranger"), "Nobody knows")
    instance = make_instance("false", stranger.issue("127.0.0.1"))
    daemon = make_daemon([over_tls(instance, authority)]).start()
    assert_not_reached(daemon, "tls-unverified", "is not believed: certificate verify failed")


def test_an_instance_that_agrees_to_http1_alone_is_told_apart(make_daemon, make_backend, authority):
    context = authority.server("127.0.0.1")
    context.set_alpn_protocols(["http/1.1"])
    backend = make_backend("old", tls=context)
    daemon = make_daemon([over_tls(backend, authority)]).start()
    assert_not_reached(daemon, "tls-failed", "cannot be spoken to by TLS: it does not offer HTTP/2")
