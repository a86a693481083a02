"""What a request costs the proxy's worker, counted and not timed, so that a loaded machine gives the same figures: by
callgrind and strace, of tests/cost/cost. Invariant: a figure is the difference of two runs, so nothing but requests is in it.
"""

import collections
import contextlib
import json
import os
import platform
import re
import subprocess
import tempfile

from .daemon import ROOT, build_folder

KINDS = ("clear", "h2c", "tls", "h2")
FIGURES = os.path.join(ROOT, "tests", "cost", "figures.json")
PROGRAM = os.path.join("tests", "cost", "cost")
FEW, MANY = 100, 400  # requests of the two runs; after the first hundred all tables are as they stay
WORKER = 4  # number of its thread, as they begin: the program's own, the plane's main one, who writes the log
WITHIN = 0.10  # of the committed instructions, more or less
CALLS_WITHIN = 0.1  # a request, of each system call: a timer may come in between


def why_not():
    """Why figures of this build say nothing beside those that are committed; None: they do."""
    with open(os.path.join(build_folder(), "Makefile"), encoding="utf-8") as file:
        settings = dict(re.findall(r"^(CC|CFLAGS|SANITIZE) = (.*)$", file.read(), re.M))
    version = subprocess.run([*settings["CC"].split(), "--version"], capture_output=True, text=True, check=True).stdout
    if platform.machine() != "x86_64" or not re.match(r"gcc.* 12\.\d+\.\d+$", version.splitlines()[0]):
        return "the figures are of gcc 12 on x86_64"
    if settings["SANITIZE"].strip() or settings["CFLAGS"].strip() != "-g -O2":
        return "the figures are of a build by configure's own flags"
    return None


def make_program():
    subprocess.run(["make", "-s", "-C", build_folder(), PROGRAM], check=True, stdout=subprocess.DEVNULL)


def _run_both(folder, command, kind, at_once):
    """Runs the program twice, side by side, under what command(out) gives; returns the two paths."""
    paths, running = [], []
    for count in (FEW, MANY):
        paths.append(os.path.join(folder, str(count)))
        argv = [*command(paths[-1]), os.path.join(build_folder(), PROGRAM), kind, str(count), str(at_once)]
        running.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    said = [process.communicate()[0].decode(errors="replace") for process in running]
    for process, text in zip(running, said):
        if process.returncode != 0:
            raise AssertionError(f"{process.args} ended with {process.returncode}:\n{text}")
    return paths


def _requests(at_once):
    return (MANY // at_once - FEW // at_once) * at_once


@contextlib.contextmanager
def profiles(kind, at_once=1):
    """The worker's profiles of callgrind: of few requests and of many, and by how many these are more."""
    make_program()
    with tempfile.TemporaryDirectory(prefix="upswap-cost-") as folder:
        paths = _run_both(
            folder,
            lambda out: ["valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}"],
            kind,
            at_once,
        )
        yield [f"{path}-{WORKER:02}" for path in paths], _requests(at_once)


def _instructions(path):
    with open(path, encoding="utf-8") as file:
        return int(re.search(r"^totals: (\d+)$", file.read(), re.M)[1])


def instructions(kind):
    """Of a request."""
    with profiles(kind) as ((few, many), requests):
        return (_instructions(many) - _instructions(few)) / requests


def _calls(path):
    """How often the worker has made each system call."""
    counts, threads = collections.Counter(), []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            thread, call = re.match(r"(\d+) +(?:(\w+)\()?", line).groups()
            if thread not in threads:
                threads.append(thread)
            if call and threads.index(thread) == WORKER - 1:
                counts[call] += 1
    return counts


def system_calls(kind):
    """Of a request, by name: those that every few requests make."""
    make_program()
    with tempfile.TemporaryDirectory(prefix="upswap-cost-") as folder:
        few, many = map(_calls, _run_both(folder, lambda out: ["strace", "-f", "-o", out], kind, 1))
    each = {call: round((many[call] - few[call]) / _requests(1), 2) for call in sorted(many)}
    return {call: count for call, count in each.items() if abs(count) >= 0.02}


# ---- what is committed ----


def committed():
    with open(FIGURES, encoding="utf-8") as file:
        return json.load(file)


def commit(figures):
    with open(FIGURES, "w", encoding="utf-8") as file:
        json.dump(figures, file, indent=2)
        file.write("\n")


REMEDY = 'if that is meant, run: scripts/cost --update "WHY"'


def fault_of_instructions(kind, measured, figures):
    """A sentence, or None."""
    expected = figures[kind]["instructions"]
    if abs(measured / expected - 1) <= WITHIN:
        return None
    return f"{kind}: a request takes {measured:.0f} instructions, and {expected} are committed; {REMEDY}"


def _is_other(call, measured, expected):
    """On a busy machine two events may come in one turn: a wait less for some requests tells nothing."""
    more = measured.get(call, 0) - expected.get(call, 0)
    return abs(more) > CALLS_WITHIN and not (call == "epoll_wait" and -0.5 < more < 0)


def fault_of_calls(kind, measured, figures):
    """A sentence, or None."""
    expected = figures[kind]["system calls"]
    if not any(_is_other(call, measured, expected) for call in {*measured, *expected}):
        return None
    return f"{kind}: a request makes the system calls {measured}, and {expected} are committed; {REMEDY}"
