"""Passes sockets to a program as systemd does for a socket unit: from descriptor 3 on, with its pid in LISTEN_PID."""

import sys

LAUNCHER = """
import fcntl, os, sys
fds, program = sys.argv[1].split(","), sys.argv[2:]
for place, high in enumerate([fcntl.fcntl(int(fd), fcntl.F_DUPFD, 500) for fd in fds]):
    os.dup2(high, 3 + place)
    os.close(high)
names = ":".join(f"test-{place}.socket" for place in range(len(fds)))
given = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": names}
os.execvpe(program[0], program, {**given, **os.environ})
"""


def prefix(sockets):
    """The command in front of the program's own; it inherits the sockets. What the environment says of them goes
    before what would be true."""
    if not sockets:
        return []
    return [sys.executable, "-c", LAUNCHER, ",".join(str(sock.fileno()) for sock in sockets)]
