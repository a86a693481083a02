"""The app of the tests, as a process of its own: app_process.py RELEASE [PORT]. Prints its port when it
listens. Every answer names its release in a field and in its body, so that a mixture shows.

GET /log gives what reached it, a line a request: method, target, User-Agent; it does not record itself.
GET ?ms=N waits so long before it answers. GET /bytes?n=N sends N bytes, chunked with &chunked=1.
POST and PUT answer with length and SHA-256 of the body that came.
"""

import hashlib
import socket
import sys
import threading

release = sys.argv[1]
log = []
never = threading.Event()


class Connection:
    def __init__(self, sock):
        self.socket = sock
        self.buffer = b""

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        head, _, self.buffer = self.buffer.partition(mark)
        return head

    def pieces(self, count):
        while count:
            if not self.buffer:
                self.more()
            piece, self.buffer = self.buffer[:count], self.buffer[count:]
            count -= len(piece)
            yield piece

    def body(self, fields):
        """Yields the request's body."""
        if "chunked" in fields.get("transfer-encoding", ""):
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                yield from self.pieces(size)
                self.until(b"\r\n")
            while self.until(b"\r\n"):
                pass
        else:
            yield from self.pieces(int(fields.get("content-length", "0")))

    def answer(self, body, framing=True, method="GET"):
        head = f"HTTP/1.1 200 OK\r\nX-Release: {release}\r\nContent-Type: text/plain\r\n"
        if framing:
            head += f"Content-Length: {len(body)}\r\n\r\n"
            self.socket.sendall(head.encode() + (b"" if method == "HEAD" else body))
            return
        self.socket.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
        for at in range(0, len(body), 4096):
            piece = body[at : at + 4096]
            self.socket.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.socket.sendall(b"0\r\n\r\n")


def exchange(connection):
    head = connection.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
    method, target, version = head[0].split(" ")
    fields = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    path, _, query = target.partition("?")
    arguments = dict(pair.split("=") for pair in query.split("&") if pair)
    if path != "/log":
        log.append(f"{method} {target} {fields.get('user-agent', '-')}")
    if fields.get("expect") == "100-continue":
        connection.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    digest, length = hashlib.sha256(), 0
    for piece in connection.body(fields):
        digest.update(piece)
        length += len(piece)
    if "ms" in arguments:
        never.wait(int(arguments["ms"]) / 1000)
    if path == "/log":
        body = "\n".join(log)
    elif path == "/bytes":
        body = (release + " ").ljust(int(arguments["n"]), "x")
    elif method in ("POST", "PUT"):
        body = f"{release} {length} {digest.hexdigest()}"
    else:
        body = f"{release} {target}"
    connection.answer(body.encode(), "chunked" not in arguments, method)
    if fields.get("connection", "").lower() == "close":
        raise EOFError


def serve(sock):
    connection = Connection(sock)
    try:
        while True:
            exchange(connection)
    except (EOFError, OSError):
        pass
    finally:
        sock.close()


def main():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    listener.listen(512)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


main()
