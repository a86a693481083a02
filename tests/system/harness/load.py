"""Steady mixed load that checks every answer: its status, its body, and that one release gave it."""

import hashlib
import itertools
import random
import threading
import time

from .client import RawClient
from .http1 import chunked


class Exchange:
    """A request that was answered: when (monotonic seconds) and by which release."""

    __slots__ = ("kind", "began", "ended", "release")

    def __init__(self, kind, began, ended, release):
        self.kind, self.began, self.ended, self.release = kind, began, ended, release


class Wrong(Exception):
    pass


def check(response, expected):
    """The release that answered; Wrong unless status, fields and body agree on it."""
    if response.status != 200:
        raise Wrong(f"{response.status} X-Upswap: {response.upswap}")
    release = response.get("X-Release")
    body = response.body.rstrip(b"x").decode()
    if body != f"{release} {expected}".rstrip("x"):
        raise Wrong(f"{release} answered {body[:80]!r}, not {expected[:80]!r}")
    return release


class Load:
    """Kinds of clients, each on a thread of its own, until stop(). Failures are kept with all that is known."""

    def __init__(self, port, plan=("kept", "kept", "fresh", "post", "chunked", "slow"), host="app.test", pace=0.002):
        self.port = port
        self.host = host
        self.pace = pace  # seconds between two requests of a client, so that 2 cores can follow
        self.stopping = threading.Event()
        self.exchanges = []
        self.failures = []
        self.threads = [
            threading.Thread(target=self._client, args=(kind, number), daemon=True)
            for number, kind in enumerate(plan)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a client of the load hangs"

    def releases(self):
        """How many answers each release gave."""
        counts = {}
        for exchange in list(self.exchanges):
            counts[exchange.release] = counts.get(exchange.release, 0) + 1
        return counts

    def assert_flawless(self):
        assert not self.failures, f"{len(self.failures)} of {len(self.exchanges)} failed: {self.failures[:5]}"
        assert self.exchanges, "the load did nothing"

    def _client(self, kind, number):
        chance = random.Random(number)
        client = None
        for count in itertools.count():
            if self.stopping.wait(self.pace):
                break
            began = time.monotonic()
            try:
                if client is None:
                    client = RawClient(self.port, timeout=30)
                release = getattr(self, f"_{kind}")(client, chance, f"{number}-{count}")
                self.exchanges.append(Exchange(kind, began, time.monotonic(), release))
                if kind == "fresh" or client.is_last:
                    client.close()
                    client = None
            except Exception as fault:  # whatever it is, it is a failed request
                self.failures.append(f"{kind} {number}-{count} after {time.monotonic() - began:.3f} s: {fault!r}")
                if client is not None:
                    client.close()
                client = None
        if client is not None:
            client.close()

    def _get(self, client, target):
        return check(client.ask(target=target, host=self.host), target)

    def _kept(self, client, chance, name):
        if chance.random() < 0.2:
            size = chance.randrange(100, 60000)
            response = client.ask(target=f"/bytes?n={size}&chunked={size % 2}", host=self.host)
            if len(response.body) != size:
                raise Wrong(f"{len(response.body)} bytes of {size}")
            return check(response, "")
        return self._get(client, f"/kept/{name}")

    def _fresh(self, client, chance, name):
        return self._get(client, f"/fresh/{name}")

    def _slow(self, client, chance, name):
        return self._get(client, f"/slow/{name}?ms={chance.randrange(50, 300)}")

    def _body(self, chance):
        return chance.randbytes(chance.randrange(1, 100000))

    def _post(self, client, chance, name):
        body = self._body(chance)
        response = client.ask("POST", f"/post/{name}", body=body, host=self.host)
        return check(response, f"{len(body)} {hashlib.sha256(body).hexdigest()}")

    def _chunked(self, client, chance, name):
        body = self._body(chance)
        cut = chance.randrange(len(body))
        pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
        fields = ["Transfer-Encoding: chunked"]
        response = client.ask("POST", f"/chunked/{name}", fields, chunked(*pieces), host=self.host)
        return check(response, f"{len(body)} {hashlib.sha256(body).hexdigest()}")
