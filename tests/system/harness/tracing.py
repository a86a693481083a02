"""What a process asks of the kernel, by strace."""

import contextlib
import shutil
import signal
import subprocess

import pytest


@contextlib.contextmanager
def traced(pid, path, calls, *options):
    """In the block, such calls (strace's -e) of a process are written into a file; options may have strace do more, such as delay them."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace")
    argv = ["strace", "-o", path, "-e", calls, *options, "-p", str(pid)]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        if "attached" not in line:
            pytest.skip(f"nothing may be traced here: {line}")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:  # it holds somebody, and does not let go before its time
            process.kill()
            process.communicate()
