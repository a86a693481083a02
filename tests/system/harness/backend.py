"""An HTTP server whose every byte is the test's: scripts by path, and a record of what reached it.

A script is called as script(connection, request) with the head read and the body not. It returns when the
exchange is over; the connection then serves the next request, unless the script closed it.
"""

import os
import queue
import socket
import threading

from . import http1
from .waiting import PATIENCE
from .wire import Ended, Wire


class BackendConnection(Wire):
    """A connection that upswap made."""

    def __init__(self, backend, sock, number):
        super().__init__(sock)
        self.backend = backend
        self.number = number
        self.received = bytearray()  # every byte, framing and all
        self.ended = threading.Event()  # the peer has closed, or the backend has

    def fill(self, most=262144):
        before = len(self.buffer)
        more = super().fill(most)
        self.received += self.buffer[before:]
        return more

    def answer(self, body=b"ok\n", status="200 OK", fields=(), framing="length"):
        self.send(http1.answer(body, status, fields, framing))

    def close(self):
        self.ended.set()
        super().close()

    def reset(self):
        self.ended.set()
        super().reset()


def default_script(connection, request):
    request.read_body(connection)
    connection.answer(connection.backend.name, framing="length" if request.method != "HEAD" else None)


class Backend:
    def __init__(self, name="backend", script=default_script, listen=True, host="127.0.0.1", port=0, greet=None, path=None, tls=None):
        self.name = name
        self.tls = tls  # a server's SSLContext
        self.handshakes = []  # what TLS agreed on: (name asked for, session was resumed, client's certificate)
        self.greet = greet  # called with each connection before its first request
        self.default = script
        self.scripts = {}
        self.requests = []  # heads of all requests, with their bodies as far as the scripts read them
        self.arrivals = queue.Queue()  # (connection, request), for next_request
        self.connections = []
        self.faults = []  # what upswap sent and must not: ProtocolError
        self.lock = threading.Lock()
        if path:
            self._bind_path(path)
        else:
            self._bind(host, port)
        if listen:
            self.listen()

    def _bind(self, host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.port = self.socket.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if family == socket.AF_INET6 else f"{host}:{self.port}"

    def _bind_path(self, path):
        """At a Unix socket that everybody may use."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        os.chmod(path, 0o666)
        self.port = 0
        self.address = f"unix:{path}"

    def listen(self):
        """Starts to accept; before, the port is taken but connections to it are refused."""
        self.socket.listen(4096)
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, path, script):
        """Uses this script for requests of this path. Bytes are sent as they are, after the body was read."""
        if isinstance(script, bytes):
            script = canned(script)
        self.scripts[path] = script
        return script

    def next_request(self, timeout=PATIENCE):
        """The next (connection, request) not yet asked for."""
        try:
            return self.arrivals.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no request reached {self.name} within {timeout} s") from None

    def asked(self):
        """The connections over which anything came; looks whether somebody listens send nothing."""
        return [connection for connection in list(self.connections) if connection.received]

    def requests_of(self, path):
        return [request for request in list(self.requests) if request.path == path]

    def forget(self):
        """Empties the record."""
        with self.lock:
            self.requests.clear()
            while not self.arrivals.empty():
                self.arrivals.get_nowait()

    def stop_listening(self):
        """From now on connections are refused; those that there are go on."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def close(self):
        """Stops listening and closes every connection: the instance is gone."""
        self.stop_listening()
        for connection in list(self.connections):
            if not connection.ended.is_set():
                try:
                    connection.socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self):
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            connection = BackendConnection(self, sock, len(self.connections))
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _secure(self, connection):
        """Speaks TLS from now on."""
        asked = []
        self.tls.sni_callback = lambda _socket, name, _context: asked.append(name)
        connection.socket = self.tls.wrap_socket(connection.socket, server_side=True)
        name = asked[0] if asked else None
        self.handshakes.append((name, connection.socket.session_reused, connection.socket.getpeercert()))

    def _serve(self, connection):
        connection.socket.settimeout(None)  # upswap decides how long it stays idle
        try:
            if self.greet:
                self.greet(connection)
            if self.tls:
                self._secure(connection)
            while not connection.ended.is_set():
                request = http1.read_request_head(connection)
                with self.lock:
                    self.requests.append(request)
                    self.arrivals.put((connection, request))
                self.scripts.get(request.path, self.default)(connection, request)
        except (Ended, OSError):
            pass
        except http1.ProtocolError as fault:
            self.faults.append(fault)
        finally:
            connection.ended.set()
            connection.socket.close()


def canned(data, close=False):
    """A script that reads the request and sends these bytes; `close`: then ends the connection."""

    def script(connection, request):
        request.read_body(connection)
        connection.send(data)
        if close:
            connection.close()

    return script


class Held:
    """A script that waits until the test lets it answer."""

    def __init__(self, body=b"held\n"):
        self.body = body
        self.arrived = threading.Semaphore(0)
        self.released = threading.Event()

    def __call__(self, connection, request):
        request.read_body(connection)
        self.arrived.release()
        if self.released.wait(60):
            connection.answer(self.body)
        else:
            connection.close()

    def wait(self, timeout=PATIENCE):
        """Returns when one (more) request has arrived."""
        assert self.arrived.acquire(timeout=timeout), "the held request never arrived"

    def release(self):
        self.released.set()
