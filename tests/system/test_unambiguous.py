"""What upswap forwards has one reading: the same bytes are sent to services of five independent servers, and each must
have seen the requests that upswap has logged, and what the others have seen.

Short here; long by scripts/ambiguity. The seed, which is printed, decides every byte.
"""

import collections
import concurrent.futures
import json
import os
import random
import re

import pytest

from harness import mutation
from harness.client import RawClient
from harness.http1 import read_response
from harness.http2 import Http2Client
from harness.mirrors import Servers
from harness.wire import Ended

REQUESTS = int(os.environ.get("UPSWAP_REQUESTS", "4000"))
SEED = int(os.environ.get("UPSWAP_SEED") or random.SystemRandom().randrange(1 << 32))
CLIENTS = 12  # side by side, so that servers' connections are reused in many orders
QUIET = 0.5  # seconds without an answer, after which a client says that no more will come

RELAYS = ("nginx", "apach", "hapro")
DISLIKES = ("HPE_INVALID_METHOD", "HPE_INVALID_URL")

Seen = collections.namedtuple("Seen", "method target length hash")


def host_of(name):
    return name.encode() + b".test"


class Told:
    """What a client was answered: in order, (request id, what the server says it saw, or a status)."""

    def __init__(self):
        self.answers = []

    def add(self, status, fields, body):
        identity = next((value for name, value in fields if name.lower() == "x-request-id"), None)
        own = any(name.lower() == "x-upswap" for name, _ in fields)
        if not own and status == 200 and body.startswith(b"{"):
            record = json.loads(body)
            seen = Seen(*(record[key] for key in Seen._fields))
            self.answers.append((record["id"], seen))
        else:
            self.answers.append((identity, ("upswap" if own else "server", status)))


def send_pieces(port, pieces):
    """Sends them and reads answers to the end."""
    told = Told()
    with RawClient(port, timeout=QUIET) as client:
        try:
            for piece in pieces:
                client.send(piece)
        except OSError:
            pass  # it was refused before its end
        for last in (False, True):
            try:
                while True:
                    response = read_response(client)
                    told.add(response.status, response.fields, response.body)
            except TimeoutError:
                if not last:
                    client.half_close()
                    client.socket.settimeout(10)
            except (Ended, ConnectionError, OSError):
                break
    return told


def send_stream(port, fields, body):
    told = Told()
    with Http2Client(port) as client:
        # In one write: were the body late, one that is longer than its length might find its answer already sent.
        stream = client.begin(fields=fields, end=body is None, more=body is not None)
        if body is not None:
            try:
                client.send(stream, body, end=True)
            except OSError:
                pass
        answer = client.answers[stream]
        while not answer.over and client.step():
            pass
        if answer.fields:
            told.add(answer.status, [(str(n), str(v)) for n, v in answer.fields], answer.body)
        # A body that comes too late for an answer is refused by a reset.
        if not answer.fields or told.answers[-1][1] == ("upswap", 400):
            told.answers[:] = [(None, "refused")]
    return told


class Case:
    """The same bytes for each server."""

    def __init__(self, seed):
        chance = random.Random(seed)
        self.h2 = chance.random() < 0.15
        if self.h2:
            self.fields, self.body = mutation.stream(chance)
            self.count = 1
        else:
            self.pieces, self.count = mutation.connection(chance)
        self.told = {}

    def send(self, port, name):
        host = host_of(name)
        if self.h2:
            fields = [(field, value.replace(mutation.HOST, host)) for field, value in self.fields]
            body = self.body and self.body.replace(mutation.HOST, host)
            self.told[name] = send_stream(port, fields, body)
        else:  # a host that is cut in two by a piece's end is another one, for all of them
            self.told[name] = send_pieces(port, [piece.replace(mutation.HOST, host) for piece in self.pieces])

    def __repr__(self):
        return repr((self.fields, self.body) if self.h2 else self.pieces)


def plain(answer):
    """An answer as all servers must give it. The target has the server's name in it, and is compared with the log."""
    return answer._replace(target="") if isinstance(answer, Seen) else answer


def has_declined(answer):
    """The server refused what it saw, or answered it by itself; upswap passes that on. (Or it could not be reached.)"""
    return isinstance(answer, tuple) and not isinstance(answer, Seen) and (answer[0] == "server" or answer[1] in (502, 503, 504))


def compare(case):
    """Each server has seen what the first one saw, but where one of them declines: then the connection may end."""
    first, *others = Servers.NAMES
    expected = [plain(answer) for _, answer in case.told[first].answers]
    for name in others:
        got = [plain(answer) for _, answer in case.told[name].answers]
        declined = False
        for one, other in zip(expected, got):
            if has_declined(one) or has_declined(other):
                declined = True
                continue
            assert one == other, (f"{first} and {name} differ", one, other, case)
        assert declined or len(expected) == len(got), (f"{first} and {name} differ", expected, got, case)


@pytest.fixture(scope="module")
def servers():
    made = Servers()
    yield made
    made.close()


def as_forwarded(method, target):
    """The target as it is sent on: of an absolute one, what stands behind the authority (RFC 9112 section 3.2)."""
    absolute = re.match(r"https?://[^/?]*", target, re.I)
    if not absolute:
        return target
    rest = target[absolute.end() :]
    if method == "OPTIONS" and rest == "":
        return "*"
    return rest if rest.startswith("/") else "/" + rest


def line_of(line):
    """The request line that was sent to the instance."""
    return f"{line['method']} {as_forwarded(line['method'], line['target'])} HTTP/1.1"


def is_line(logged, sent):
    """Logs cut what is long."""
    return logged == sent or (len(logged) > 900 and sent.startswith(logged))


class Ledger:
    """What upswap has logged, by request id."""

    def __init__(self, path, addresses):
        names = {address: name for name, address in addresses.items()}
        self.lines = {}
        self.forwarded = {name: {} for name in addresses}
        with open(path, encoding="ascii") as file:
            for text in file:
                line = json.loads(text)
                assert line["request_id"] not in self.lines, f"two lines of one request: {line}"
                self.lines[line["request_id"]] = line
                if line["instance"] in names:
                    self.forwarded[names[line["instance"]]][line["request_id"]] = line

    def check_fault(self, name, record):
        """A server may know no such method or dislike a target; but what it dislikes is a request that was forwarded."""
        assert record["fault"] in DISLIKES, (f"{name} could not read what it was sent", record)
        head = record["bytes"].partition("\r\n\r\n")[0]
        identity = re.search(r"\r\nX-Request-Id: (\S+)", head, re.I)
        assert identity and identity[1] in self.forwarded[name], (f"{name} saw a request that was not forwarded", record)

    def check_records(self, name, records):
        """What a mirror read: each is a request that was forwarded, as it was logged, and each comes once."""
        lines, seen = self.forwarded[name], {}
        for record in records:
            if "fault" in record:
                self.check_fault(name, record)
                continue
            assert record["id"] in lines, (f"{name} saw a request that was not forwarded", record)
            line = lines[record["id"]]
            assert record["id"] not in seen or line["retries"] > 0, (f"{name} saw a request twice", record)
            seen[record["id"]] = record
            assert record["method"] == line["method"], (name, record, line)
            assert record["length"] < line["bytes_in"], (name, record, line)
            if name not in RELAYS:  # which may send it on in another form; see check_relay
                assert record["target"] == as_forwarded(line["method"], line["target"]), (name, record, line)
        return seen

    def check_relay(self, name, entries):
        """What a server in front of a mirror read. Of one that it refused at its first line it does not know the id."""
        forwarded = self.forwarded[name]
        refused = [line_of(line) for line in forwarded.values() if line["status"] >= 400]
        for identity, status, request in entries:
            what = (f"{name} saw a request that was not forwarded", identity, status, request)
            if identity is None:  # HAProxy does not even show it
                fitting = [each for each in refused if is_line(request, each) or request == ""]
                assert fitting, what
                refused.remove(fitting[0])
            else:
                assert identity in forwarded and is_line(request, line_of(forwarded[identity])), what

    def check_answered(self, cases):
        """Each answer that a client got is a line, and each line is an answer, unless the client had gone."""
        answered = collections.Counter(
            identity for case in cases for told in case.told.values() for identity, _ in told.answers if identity
        )
        assert max(answered.values()) == 1
        missing = set(answered) - set(self.lines)
        assert not missing, f"answered, but not logged: {missing}"
        return [line for identity, line in self.lines.items() if identity not in answered]


def test_every_server_sees_the_requests_that_upswap_logged_and_no_others(make_daemon, servers):
    print(f"\nseed {SEED}", flush=True)
    daemon = make_daemon([], access_log={"path": "/dev/null"})
    log = daemon.path("access.log")
    daemon.config["access_log"]["path"] = log
    daemon.config["services"] = [
        {"name": name, "hosts": [f"{name}.test"], "instances": [address]} for name, address in servers.addresses.items()
    ]
    daemon.start()
    port = daemon.port
    cases, count = [], 0
    while count < REQUESTS:
        cases.append(Case(f"{SEED}-{len(cases)}"))
        count += cases[-1].count * len(Servers.NAMES)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        for done in [clients.submit(case.send, port, name) for case in cases for name in Servers.NAMES]:
            done.result()
    daemon.stop()  # all is logged by then
    servers.close()

    ledger = Ledger(log, servers.addresses)
    whole = 0
    for name in Servers.NAMES:
        whole += len(ledger.check_records(name, servers.records(name)))
    for name, relay in servers.relays.items():
        ledger.check_relay(name, relay.entries())
    unanswered = ledger.check_answered(cases)
    for case in cases:
        compare(case)
    print(
        f"{count} requests meant, {len(ledger.lines)} logged, {whole} seen whole, the same by all; "
        f"{len(unanswered)} ended unanswered",
        flush=True,
    )
    assert whole > REQUESTS / 10
