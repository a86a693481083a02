"""Clients that go on asking, one request after the other, whatever is done to the service meanwhile; each keeps what was
answered by whom and when, and whatever was no right answer."""

import hashlib
import random
import struct
import threading
import time

import hpack

from . import frames
from .client import RawClient
from .http1 import ProtocolError
from .http2 import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, RawHttp2, frame
from .wire import Ended

PACE = 0.01  # seconds between two requests
KEPT = 2000  # of the answers; older ones are only counted
NOT_OK = "{} {}"


def digest(body):
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


def serve(backend):
    """Makes a backend answer what walkers ask."""
    backend.on("/echo", _echo)
    backend.on("/socket", _socket)


def _echo(connection, request):
    request.read_body(connection)
    connection.answer(f"{connection.backend.name} {digest(request.body)}")


def _socket(connection, request):
    connection.send(frames.agreement(request))
    while True:
        opcode, payload, _ = frames.read_frame(connection, masked=True)
        if opcode == frames.CLOSE:
            connection.send(frames.frame(frames.CLOSE, payload))
            connection.close()
            return
        connection.send(frames.frame(opcode, f"{connection.backend.name} ".encode() + payload))


class Refused(Exception):
    """An answer that is none of an instance's: `what` is its status and its word."""

    def __init__(self, what):
        super().__init__(what)
        self.what = what


class Walker:
    """On a thread of its own. A kind of client has `open`, `talk` (returns the release that has answered) and `close`."""

    def __init__(self, port, seed=0):
        self.port = port  # a function: it changes when the daemon is started again
        self.chance = random.Random(seed)
        self.answered = 0
        self.seen = []  # (began, ended, release), the last ones
        self.failures = []  # (began, ended, "lost" or the status and word, more)
        self.connection = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping.wait(PACE):
            began = time.monotonic()
            try:
                if self.connection is None:
                    self.connection = self.open()
                release = self.talk(self.connection)
                self.answered += 1
                self.seen.append((began, time.monotonic(), release))
                if len(self.seen) > 2 * KEPT:
                    del self.seen[:KEPT]
            except Refused as refused:
                self.failures.append((began, time.monotonic(), refused.what, ""))
                self.close()
            except Exception as fault:  # a lost connection, most of all
                self.failures.append((began, time.monotonic(), "lost", f"{type(self).__name__} {fault!r}"))
                self.close()
        self.close()

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def stop(self):
        self.stopping.set()

    def finish(self):
        self.thread.join(35)
        assert not self.thread.is_alive(), f"{type(self).__name__} hangs"


class Browser(Walker):
    """HTTP/1.1 on a kept connection; `keeps` its cookies, or is a new session with each request."""

    def __init__(self, port, keeps, seed=0):
        self.keeps, self.cookies = keeps, {}
        super().__init__(port, seed)

    def open(self):
        return RawClient(self.port(), timeout=30)

    def exchange(self, client, *arguments, **options):
        answer = client.ask(*arguments, **options)
        if client.is_last:
            self.close()
        if answer.status != 200:
            raise Refused(NOT_OK.format(answer.status, answer.upswap))
        for line in answer.all("Set-Cookie") if self.keeps else ():
            name, value = line.split(";")[0].split("=", 1)
            self.cookies[name] = value
        return answer.text

    def talk(self, client):
        return self.exchange(client, fields=[f"Cookie: {name}={value}" for name, value in self.cookies.items()])


class Poster(Browser):
    """Sends bodies, and looks that they arrived as they are."""

    def __init__(self, port, seed=0):
        super().__init__(port, False, seed)

    def talk(self, client):
        body = self.chance.randbytes(self.chance.randrange(1, 50000))
        release, _, got = self.exchange(client, "POST", "/echo", body=body).partition(" ")
        if got != digest(body):
            raise ProtocolError(f"{release} got {got}, not {digest(body)}")
        return release


class Streamer(Walker):
    """HTTP/2 on a kept connection. What GOAWAY says was not looked at (RFC 9113, section 6.8) is asked for again."""

    def open(self):
        client = RawHttp2(self.port(), timeout=30)
        client.close = client.socket.close
        client.decoder, client.stream, client.last = hpack.Decoder(), -1, None
        return client

    def talk(self, client):
        release = None
        while release is None:
            client.stream += 2
            client.send(self.head(client.stream))
            release = self.answer(client)
            if client.last is not None or client.stream > 2000:
                self.close()
                if release is None:
                    client = self.connection = self.open()
        return release

    def head(self, stream):
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", "/")]
        block = hpack.Encoder().encode(fields)
        return frame(HEADERS, END_STREAM | END_HEADERS, stream, block)

    def answer(self, client):
        """The release; None: the stream was not looked at."""
        fields, body = {}, b""
        while (got := client.read()) is not None:
            kind, flags, stream, payload = got
            if kind == GOAWAY:
                client.last = struct.unpack(">I", payload[:4])[0]
                if client.last < client.stream:
                    return None
            elif kind == SETTINGS and not flags & ACK:
                client.send(frame(SETTINGS, ACK))
            elif kind == PING and not flags & ACK:
                client.send(frame(PING, ACK, 0, payload))
            elif kind == HEADERS:
                fields.update(client.decoder.decode(payload))
            elif kind == DATA:
                body += payload
            elif kind == RST_STREAM and stream == client.stream:
                raise ProtocolError(f"stream {stream} was reset")
            if stream == client.stream and kind in (HEADERS, DATA) and flags & END_STREAM:
                if fields[":status"] != "200":
                    raise Refused(NOT_OK.format(fields[":status"], fields.get("x-upswap")))
                return body.decode()
        raise Ended(body)


class Chatter(Walker):
    """A WebSocket for as long as it may live; its end must be announced."""

    def open(self):
        client = RawClient(self.port(), timeout=30)
        client.request(target="/socket", fields=frames.UPGRADE)
        answer = client.response()
        if answer.status != 101:
            client.close()
            raise Refused(NOT_OK.format(answer.status, answer.upswap))
        return client

    def talk(self, client):
        said = self.chance.randbytes(self.chance.randrange(1, 2000))
        client.send(frames.frame(frames.BINARY, said, masked=True))
        opcode, payload, _ = frames.read_frame(client)
        if opcode == frames.CLOSE:
            code = int.from_bytes(payload[:2], "big")
            if code not in (1001, 1012):
                raise ProtocolError(f"closed with {code}")
            self.close()
            return "closed"
        release, _, heard = payload.partition(b" ")
        if heard != said:
            raise ProtocolError(f"{release} said other than was said to it")
        return release.decode()
