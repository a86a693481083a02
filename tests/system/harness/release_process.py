"""A release whose quality can be told while it runs: release_process.py NAME. Prints its port when it listens.

Reads orders from stdin, a line each: `errors 0.05` (that share of the requests gets 500), `delay 100` (ms before
each answer). After each it prints how many requests it has answered, and how many of them with 500.
"""

import asyncio
import sys

name = sys.argv[1]
errors, delay = 0.0, 0.0
answered = failed = 0
debt = 0.0  # of errors, so that a share is a share and no chance


def answer():
    global answered, failed, debt
    answered += 1
    debt += errors
    status, body = "200 OK", f"{name}\n"
    if debt >= 1:
        debt -= 1
        failed += 1
        status, body = "500 Internal Server Error", "broken\n"
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Connection(asyncio.Protocol):
    """Requests without bodies, one after the other."""

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            _, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            asyncio.get_running_loop().call_later(delay / 1000, self.reply)

    def reply(self):
        if not self.transport.is_closing():
            self.transport.write(answer())


def obey(line):
    global errors, delay
    word, value = line.split()
    if word == "errors":
        errors = float(value)
    elif word == "delay":
        delay = float(value)
    print(answered, failed, flush=True)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        obey(line.decode())


asyncio.run(main())
