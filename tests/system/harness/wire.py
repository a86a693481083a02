"""A socket with a read buffer: exact bytes out, exact bytes in, and a clear word about how it ended."""

import fcntl
import select
import socket
import struct
import termios

from .waiting import PATIENCE


class Ended(Exception):
    """The peer closed before what was awaited had come; `partial` is what had."""

    def __init__(self, partial):
        super().__init__(f"the connection ended after {len(partial)} bytes: {bytes(partial[:200])!r}")
        self.partial = bytes(partial)


class Wire:
    def __init__(self, sock, timeout=PATIENCE):
        self.socket = sock
        self.buffer = bytearray()
        sock.settimeout(timeout)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self.socket.sendall(data)

    def send_until_blocked(self, block, most, quiet=1.0):
        """Sends `block` again and again until the peer takes nothing for `quiet` seconds, or `most` bytes are
        sent. Returns the bytes sent."""
        sent = 0
        view = memoryview(block)
        while sent < most:
            if not select.select([], [self.socket], [], quiet)[1]:
                break
            offset = sent % len(block)
            sent += self.socket.send(view[offset : offset + min(len(block) - offset, most - sent)])
        return sent

    def unacknowledged(self):
        """Bytes that were sent and are not in the peer's kernel."""
        return struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))[0]

    def fill(self, most=262144):
        """Reads once. False at the peer's end."""
        data = self.socket.recv(most)
        self.buffer += data
        return bool(data)

    def until(self, mark, most=1 << 20):
        """The bytes up to and with `mark`."""
        looked = 0
        while (at := self.buffer.find(mark, looked)) < 0:
            looked = max(0, len(self.buffer) - len(mark) + 1)
            assert len(self.buffer) < most, f"{mark!r} did not come within {most} bytes"
            if not self.fill():
                raise Ended(self.buffer)
        return self.take(at + len(mark))

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise Ended(self.buffer)
        return self.take(count)

    def take(self, count):
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def to_end(self):
        """Everything up to the peer's end."""
        while self.fill():
            pass
        return self.take(len(self.buffer))

    def to_end_or_reset(self):
        """As to_end, for a peer that may end it with a reset."""
        try:
            return self.to_end()
        except ConnectionResetError:
            return self.take(len(self.buffer))

    def discard(self, count):
        """Reads and forgets `count` bytes. Yields the running total after each read."""
        done = min(count, len(self.buffer))
        del self.buffer[:done]
        while done < count:
            data = self.socket.recv(min(1 << 18, count - done))
            if not data:
                raise Ended(b"")
            done += len(data)
            yield done

    def assert_closed(self):
        """The peer has closed (an end or a reset) without another byte."""
        try:
            rest = self.to_end_or_reset()
        except TimeoutError:
            raise AssertionError(f"the connection was not closed; read: {bytes(self.buffer[:300])!r}") from None
        assert rest == b"", f"bytes before the end: {rest[:300]!r}"

    def is_open(self, seconds=0.1):
        """The peer neither sends nor closes for so long."""
        return not self.buffer and not select.select([self.socket], [], [], seconds)[0]

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()
