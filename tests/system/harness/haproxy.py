"""A real HAProxy in front of upswap, or behind it."""

import os
import socket
import subprocess
import tempfile

from . import processes


class Haproxy:
    """One frontend on a free port of `host` and one server behind it. `bind` and `server` are what stands behind
    their addresses; `more` are lines of the section."""

    def __init__(self, server, options="", bind="", more=(), host="127.0.0.1"):
        self.socket = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port = self.socket.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory(prefix="upswap-haproxy-")
        path = os.path.join(self.folder.name, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self._config(server, options, bind, more))
        self.process = processes.spawn(
            ["/usr/sbin/haproxy", "-db", "-f", path],
            pass_fds=[self.socket.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _config(self, server, options, bind, more):
        lines = [
            "global",
            "  nbthread 1",
            "defaults",
            "  mode http",
            "  timeout connect 5s",
            "  timeout client 30s",
            "  timeout server 30s",
            "listen all",
            f"  bind fd@{self.socket.fileno()} {bind}",
            *(f"  {line}" for line in more),
            f"  server one {server} {options}" if server else "",
        ]
        return "\n".join(lines) + "\n"

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self.process.terminate()
        processes.finish(self.process)
        self.socket.close()
        self.folder.cleanup()
