"""The machine: its cores and ports, and what the kernel has counted of processes. Invariant: figures of a program are sums over
all of its processes and threads."""

import os
import socket
import subprocess
import sys

PROXY_CORE, LOAD_CORE = 0, 1
CORES = len(os.sched_getaffinity(0))
SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def spawn(argv, cores, **options):
    """Starts a program on these cores (None: on any, whatever those of this process are)."""
    pinned = ["taskset", "-c", ",".join(map(str, range(CORES) if cores is None else cores))]
    options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
    return subprocess.Popen([*pinned, *map(str, argv)], **options)


def run(argv, cores=(LOAD_CORE,)):
    """Runs a program to its end and returns what it said; anything but success ends the benchmark."""
    process = spawn(argv, cores, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = process.communicate()[0]
    if process.returncode != 0:
        sys.exit(f"scripts/bench: {' '.join(map(str, argv))} ended with {process.returncode}:\n{said}")
    return said


def end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def process_tree(pid):
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            for child in file.read().split():
                found += process_tree(int(child))
    return found


def cpu_ns(pids):
    """ns on a CPU of all threads, in user mode and in the kernel."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    return total


def _kib(path, name):
    with open(path, encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))


def peak_kib(pids):
    """The most that each has ever had resident; what they share counts in each."""
    return sum(_kib(f"/proc/{pid}/status", "VmHWM:") for pid in pids)


def share_kib(pids):
    """What they have resident now; what they share is divided among those who share it (PSS)."""
    return sum(_kib(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids)


def pin(pids, cores):
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), cores)
