"""An open loop: so many requests a second, whatever becomes of the ones before, and an instance that notes when each
came. Both run on one event loop, in a thread of their own."""

import asyncio
import bisect
import socket
import struct
import threading
import time


SO_TIMESTAMPNS = 35


class _Connection(asyncio.Protocol):
    """A client's connection: one request at a time."""

    def __init__(self, steady):
        self.steady = steady
        self.transport = None
        self.began = None
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport
        self.steady.open.add(transport)
        self.ask()

    def ask(self):
        self.buffer = b""
        self.transport.write(self.steady.request)

    def data_received(self, data):
        self.buffer += data
        head, ended, body = self.buffer.partition(b"\r\n\r\n")
        if not ended:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self.steady.note(head.partition(b"\r\n")[0].decode(), self.began)
            self.steady.idle.append(self)

    def connection_lost(self, exc):
        self.steady.open.discard(self.transport)
        if self in self.steady.idle:
            self.steady.idle.remove(self)
        elif not self.steady.closing:
            self.steady.note(f"lost: {exc!r}", self.began)


class _Served:
    """An instance's connection. The kernel tells when a request came, however late this thread is."""

    def __init__(self, steady, sock):
        self.steady = steady
        self.socket = sock
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        steady.served.add(self)
        steady.loop.add_reader(sock, self.readable)

    def close(self):
        self.steady.served.discard(self)
        self.steady.loop.remove_reader(self.socket)
        self.socket.close()

    def readable(self):
        try:
            data, ancillary, _, _ = self.socket.recvmsg(65536, 64)
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        came = time.time()
        for level, kind, bytes_ in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, ns = struct.unpack("qq", bytes_)
                came = seconds + ns / 1e9
        for _ in range(data.count(b"\r\n\r\n")):
            self.steady.arrivals.append(came)
            self.socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")


class Steady:
    """`arrivals`: when requests reached the instance (time.time); `answers`: (status line, seconds) of each."""

    def __init__(self, rate):
        self.rate = rate
        self.request = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
        self.arrivals, self.answers, self.idle = [], [], []
        self.open, self.served = set(), set()
        self.asked = 0
        self.closing = False
        self.loop = asyncio.new_event_loop()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.loop.add_reader(self.listener, lambda: _Served(self, self.listener.accept()[0]))
        self.stopping = None
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def note(self, how, began):
        self.answers.append((how, time.monotonic() - began))

    def start(self, port):
        self.stopping = threading.Event()
        self.driver = asyncio.run_coroutine_threadsafe(self._drive(port), self.loop)

    async def _drive(self, port):
        start = time.monotonic()
        while not self.stopping.is_set():
            due = int((time.monotonic() - start) * self.rate) - self.asked
            for _ in range(due):
                self.asked += 1
                if self.idle:
                    connection = self.idle.pop()
                    connection.began = time.monotonic()
                    connection.ask()
                else:
                    connection = _Connection(self)
                    connection.began = time.monotonic()
                    asyncio.ensure_future(self.loop.create_connection(lambda c=connection: c, "127.0.0.1", port))
            await asyncio.sleep(0.002)

    def finish(self):
        """Asks no more."""
        self.stopping.set()
        self.driver.result(10)

    def close(self):
        self.closing = True
        if self.stopping is not None:
            self.finish()
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _close(self):
        self.loop.remove_reader(self.listener)
        self.listener.close()
        for transport in list(self.open):
            transport.abort()
        for served in list(self.served):
            served.close()
        await asyncio.sleep(0)

    def most_within(self, seconds, since):
        """The most arrivals in any stretch of that length after `since`."""
        times = sorted(each for each in list(self.arrivals) if each >= since)
        return max((bisect.bisect_right(times, at + seconds) - i for i, at in enumerate(times)), default=0)
