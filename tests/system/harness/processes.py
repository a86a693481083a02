"""Processes of a test: started here, known here, and nothing left behind.

This process takes in orphans (PR_SET_CHILD_SUBREAPER), so whatever a daemon leaves behind becomes its child
and is found.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess

from .waiting import wait_until

PR_SET_CHILD_SUBREAPER = 36
_known = {}
_tolerated = []  # words of those that stay longer than a test


def adopt_orphans():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def spawn(argv, **options):
    """Starts a program that dies with this process, even if that is killed."""
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *argv], **options)
    _known[process.pid] = process
    return process


def finish(process, timeout=10):
    """Waits for a process that was told to end. Returns its status."""
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{process.args[4:]} did not end within {timeout} s") from None
    finally:
        _known.pop(process.pid, None)
    return status


def _state(path):
    """The letter of a process, or of a thread, by its folder below /proc; none: it is gone."""
    try:
        with open(f"{path}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_asleep(pid):
    """It waits for something: what it had to do is done."""
    return _state(f"/proc/{pid}") == "S"


def is_running(pid):
    """Is there such a process, and no zombie?"""
    return _state(f"/proc/{pid}") not in ("", "Z", "X")


def stop(pid):
    """Stops a process, and waits until all of its threads stand (under strace, too): the signal alone only asks for that."""
    os.kill(pid, signal.SIGSTOP)
    tasks = f"/proc/{pid}/task"
    wait_until(lambda: all(_state(f"{tasks}/{task}") in ("T", "t") for task in os.listdir(tasks)), what=f"process {pid} to stop")


@contextlib.contextmanager
def standing(pid):
    """A process that stands still for so long, so that it finds all that comes meanwhile at once."""
    stop(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def _orphans():
    left = []
    for pid in children(os.getpid()):
        if pid in _known or any(word in describe(pid) for word in _tolerated):
            continue
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                left.append(pid)
        except ChildProcessError:
            pass
    return left


def describe(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return f"{pid} {file.read().replace(bytes(1), b' ').decode(errors='replace')}"
    except OSError:
        return str(pid)


def orphans_of(word):
    """Those that a daemon's programs have left running, with this in their command line."""
    return [pid for pid in _orphans() if word in describe(pid)]


@contextlib.contextmanager
def tolerating(word):
    """In the block, orphans with this in their command line are no daemon's."""
    _tolerated.append(word)
    try:
        yield
    finally:
        _tolerated.remove(word)


def end_orphans_of(word):
    for pid in orphans_of(word):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not orphans_of(word))


def assert_none_left(timeout=8):
    """No orphan of a stopped daemon is left; what is gets killed, after it was named."""
    try:
        wait_until(lambda: not _orphans(), timeout)
    except AssertionError:
        left = _orphans()
        names = [describe(pid) for pid in left]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _orphans())
        raise AssertionError(f"processes were left behind: {names}") from None


def wait_gone(pid, timeout=10):
    """Waits for the end of a process that need not be our child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], timeout)[0], f"process {describe(pid)} did not end"
    finally:
        os.close(fd)


def workers(proxy):
    """Its threads that serve. The kernel lists threads in the order of their beginning: the main one, who writes the
    access log, workers."""
    return [int(thread) for thread in os.listdir(f"/proc/{proxy}/task")][2:]


class StoppedThread:
    """Holds one thread of a process still, as a debugger does, while the block lasts."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
    WALL = 0x40000000

    def __init__(self, tid):
        self.tid = tid
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def _ptrace(self, request):
        if self.libc.ptrace(request, self.tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request}")

    def __enter__(self):
        self._ptrace(self.SEIZE)
        self._ptrace(self.INTERRUPT)
        os.waitpid(self.tid, self.WALL)
        return self

    def __exit__(self, *_):
        self._ptrace(self.DETACH)


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def name(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wardens(control):
    """Those that run a program, and those that are kept for the next one."""
    return [pid for child in children(control) for pid in children(child) if name(pid) == "upswapd:warden"]


def is_of_control_group(link):
    try:
        return "/upswap-uptest-" in os.readlink(link)
    except FileNotFoundError:
        return False


def descriptors(pid):
    """How many are open, without the two of each warden and each of its control groups. Into a role nobody but root may look."""
    folder = f"/proc/{pid}/fd"
    try:
        others = [name for name in os.listdir(folder) if not is_of_control_group(f"{folder}/{name}")]
        return len(others) - 2 * len(wardens(pid))
    except PermissionError:
        import pytest  # scripts use this folder, too, where there is none

        pytest.skip("only root may look into a role")
