"""A client of HTTP/2 with prior knowledge: python3-h2 for what is well formed, raw frames for what is not."""

import socket
import struct
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack

from .waiting import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 1, 7, 8, 11


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def head_frame(stream, path="/"):
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", path)]
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, hpack.Encoder().encode(fields))


class Answer:
    """What came on one stream."""

    def __init__(self):
        self.interim = []  # header lists
        self.fields = None
        self.body = b""
        self.trailers = None
        self.ended = False
        self.reset = None  # the code

    @property
    def status(self):
        return int(dict(self.fields)[":status"]) if self.fields else None

    def get(self, name):
        return dict(self.fields).get(name)

    @property
    def over(self):
        return self.ended or self.reset is not None


class Http2Client:
    """`reads`: acknowledges what comes, so that the windows stay open."""

    def __init__(self, port, reads=True, timeout=PATIENCE, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.reads = reads
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=True,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.answers = {}
        self.goaways = []  # (last stream, code, words)
        self.remote = {}  # settings of the other side
        self.closed = False
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def send_raw(self, data):
        self.socket.sendall(data)

    def fields(self, method="GET", path="/", extra=(), host="app.test"):
        return [(":method", method), (":scheme", "http"), (":authority", host), (":path", path), *extra]

    def begin(self, method="GET", path="/", extra=(), end=True, fields=None, more=False):
        """Sends a head, or with `more` keeps it for the write of what comes next; the stream's id."""
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, fields or self.fields(method, path, extra), end_stream=end)
        if not more:
            self.flush()
        return stream

    def send(self, stream, data=b"", end=False):
        """Sends what the windows allow at once; the rest as they open."""
        while True:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            piece = data[:room]
            data = data[len(piece) :]
            if piece or (end and not data):
                self.h2.send_data(stream, piece, end_stream=end and not data)
                self.flush()
            if not data:
                return
            if room == 0:
                self.step()

    def trailers(self, stream, fields):
        self.h2.send_headers(stream, fields, end_stream=True)
        self.flush()

    def reset(self, stream, code=CANCEL):
        self.h2.reset_stream(stream, code)
        self.flush()

    def step(self):
        """Reads once. False: the connection has ended."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return False
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as fault:
            raise AssertionError(f"upswap sent what it must not: {fault!r}") from fault
        for event in events:
            self.take(event)
        try:
            self.flush()
        except ConnectionError:
            pass
        return True

    def take(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(event.headers)
        elif isinstance(event, h2.events.ResponseReceived):
            answer.fields = event.headers
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.reads and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((event.last_stream_id, event.error_code, event.additional_data))
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.remote.update({key: change.new_value for key, change in event.changed_settings.items()})

    def until(self, condition, what="what was awaited"):
        """Reads until the condition is true."""
        while not condition():
            assert self.step(), f"the connection ended before {what} came; {self.goaways}"

    def finish(self, stream):
        """Waits for the end of a stream; what came."""
        answer = self.answers[stream]
        self.until(lambda: answer.over, f"the end of stream {stream}")
        return answer

    def ask(self, method="GET", path="/", extra=(), body=None, fields=None):
        stream = self.begin(method, path, extra, end=body is None, fields=fields)
        if body is not None:
            self.send(stream, body, end=True)
        return self.finish(stream)

    def drain(self):
        """Reads to the connection's end."""
        while self.step():
            pass


class RawHttp2:
    """A connection for frames that no library would send. Reads frames, answers nothing by itself. `room`: bytes that
    the kernel is to hold for it."""

    def __init__(self, port, timeout=PATIENCE, room=None):
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if room:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.connect(("127.0.0.1", port))
        self.buffer = b""
        self.send(PREFACE + frame(SETTINGS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def flood(self, data, times):
        """Sends until the other side closes, at most so many times."""
        try:
            for _ in range(times):
                self.socket.sendall(data)
        except ConnectionError:
            pass

    def read(self):
        """The next frame as (kind, flags, stream, payload), or None at the end."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                return None
            self.buffer += more
        size = int.from_bytes(self.buffer[:3], "big")
        head, payload = self.buffer[:9], self.buffer[9 : 9 + size]
        self.buffer = self.buffer[9 + size :]
        return head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, payload

    def goaway(self):
        """Reads to the end; (last stream, code, words) of the last GOAWAY, or None."""
        found = None
        while (got := self.read()) is not None:
            if got[0] == GOAWAY:
                last, code = struct.unpack(">II", got[3][:8])
                found = (last, code, got[3][8:])
        return found


class Http2Instance:
    """An instance that speaks HTTP/2 through python3-h2, with prior knowledge or (`tls`: a server's SSLContext) by
    ALPN. `on`: path -> script(served, stream, fields, body), called when a request is whole; else the answer is the
    path. Tunnels echo, if they are offered."""

    def __init__(self, tunnels=False, streams=100, tls=None):
        self.tls = tls
        if tls:
            tls.set_alpn_protocols(["h2"])
        self.tunnels = tunnels
        self.streams = streams
        self.scripts = {}
        self.requests = []  # (connection's number, field list, body)
        self.connections = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        for served in self.connections:
            served.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            served = Http2Served(self, sock, len(self.connections))
            self.connections.append(served)
            threading.Thread(target=served.run, daemon=True).start()

    def asked(self):
        """The connections that requests came over; a check without a path only connects."""
        return [served for served in self.connections if served.streams]


class Http2Served:
    """One connection of an instance."""

    def __init__(self, instance, sock, number):
        self.instance = instance
        self.socket = sock
        self.number = number
        self.lock = threading.RLock()
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_inbound_headers=False)
        )
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: instance.streams,
                h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: int(instance.tunnels),
            },
        )
        self.streams = {}  # id -> [fields, body]
        self.trailers = {}  # id -> dict
        self.tunnels = set()
        self.resets = []
        self.ended = threading.Event()

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def run(self):
        try:
            if self.instance.tls:
                self.socket = self.instance.tls.wrap_socket(self.socket, server_side=True)
            with self.lock:
                self.h2.initiate_connection()
                self.flush()
            while data := self.socket.recv(65536):
                with self.lock:
                    for event in self.h2.receive_data(data):
                        self.take(event)
                    self.flush()
        except (OSError, h2.exceptions.ProtocolError):
            pass  # a frame that has crossed ours
        finally:
            self.ended.set()
            self.socket.close()

    def take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.streams[event.stream_id] = [event.headers, b""]
            if ":protocol" in dict(event.headers):
                self.tunnels.add(event.stream_id)
                self.instance.requests.append((self.number, event.headers, b""))
                self.h2.send_headers(event.stream_id, [(":status", "200"), ("sec-websocket-protocol", "p")])
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self.tunnels:
                self.h2.send_data(event.stream_id, event.data)
            else:
                self.streams[event.stream_id][1] += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers[event.stream_id] = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            if event.stream_id in self.tunnels:
                self.h2.end_stream(event.stream_id)
            else:
                self.serve(event.stream_id, *self.streams[event.stream_id])
        elif isinstance(event, h2.events.StreamReset):
            self.resets.append((event.stream_id, event.error_code))

    def serve(self, stream, fields, body):
        self.instance.requests.append((self.number, fields, body))
        path = dict(fields)[":path"].partition("?")[0]
        script = self.instance.scripts.get(path)
        if script:
            script(self, stream, fields, body)
        else:
            self.answer(stream, path.encode())

    def respond(self, stream, status):
        """Without a body."""
        with self.lock:
            self.h2.send_headers(stream, [(":status", status)], end_stream=True)
            self.flush()

    def answer(self, stream, body, fields=()):
        """From any thread. The body must fit the windows."""
        with self.lock:
            self.h2.send_headers(stream, [(":status", "200"), *fields], end_stream=not body)
            while body:
                piece, body = body[:16384], body[16384:]
                self.h2.send_data(stream, piece, end_stream=not body)
            self.flush()

    def refuse(self, stream):
        self.h2.reset_stream(stream, REFUSED_STREAM)
