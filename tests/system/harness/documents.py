"""What the documents say, taken out of them: examples of man pages, commands of the Markdown pages.

What is run is what a reader would copy.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import textwrap

from . import processes
from .daemon import ROOT, build_folder
from .waiting import PATIENCE


def man_examples(page):
    """The literal blocks of EXAMPLES in a man page, as mandoc shows them."""
    shown = subprocess.run(
        ["mandoc", "-Tascii", "-O", "indent=5,width=200", os.path.join(ROOT, "doc", page)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    plain = re.sub(".\b", "", shown)
    section = re.search(r"^EXAMPLES\n(.*?)^\S", plain, re.M | re.S)[1]
    blocks = re.findall(r"(?:^ {11}.*\n|^\n(?= {11}))+", section, re.M)
    return [textwrap.dedent(block.strip("\n")) + "\n" for block in blocks]


def read(*names):
    with open(os.path.join(ROOT, *names), encoding="utf-8") as file:
        return file.read()


class Block:
    """A fenced block of commands: "sh" is run, "sh not run" is not; a "text" block right below is what it prints."""

    def __init__(self, mark, commands):
        self.is_run = mark == "sh"
        self.commands = commands
        self.shown = ""


def blocks(*names):
    """The blocks of commands of a page, in order."""
    found = []
    end = -1
    for match in re.finditer(r"^```(.*)\n((?:.*\n)*?)```\n", read(*names), re.M):
        if match[1] == "text" and match.start() == end:
            found[-1].shown = match[2]
        elif match[1] in ("sh", "sh not run"):
            found.append(Block(match[1], match[2]))
        end = match.end()
    return found


def _pattern(line):
    """A shown line as it may be printed: numbers differ, "..." is anything, and so is what stands before and behind."""
    text = r"\s+".join(re.escape(word) for word in line.split())
    text = text.replace(r"\s+\.\.\.\s+", r"\s.*").replace(r"\.\.\.", ".*")
    return re.sub(r"\d+", r"\\d+", text)


def missing(shown, printed):
    """The first shown line that was not printed behind those before it; or None."""
    at = 0
    for line in shown.splitlines():
        match = re.compile(_pattern(line)).search(printed, at)
        if match is None:
            return line
        at = match.end()
    return None


class Session:
    """A shell in which a reader types the commands of a page, with a home of its own. `given` are texts in the page that
    differ here, such as ports. The first command that fails ends it."""

    def __init__(self, home, given):
        self.home = home
        self.given = given
        self.count = 0
        self.shell = processes.spawn(
            ["bash", "-euo", "pipefail"],
            cwd=home,
            env={**os.environ, "HOME": home, "PATH": f"{build_folder()}:{os.environ['PATH']}", "LANG": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, block):
        """Runs a block; returns what it has printed."""
        commands = block.commands
        for text, here in self.given.items():
            commands = commands.replace(text, here)
        self.count += 1
        path = os.path.join(self.home, f"block-{self.count}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(commands)
        self.shell.stdin.write(f". {path} >{path}.out 2>&1 </dev/null; echo\n".encode())
        self.shell.stdin.flush()
        ready = select.select([self.shell.stdout], [], [], 4 * PATIENCE)[0]
        ended = ready and self.shell.stdout.read(1) == b"\n"
        with open(f"{path}.out", encoding="utf-8") as file:
            printed = file.read()
        assert ended, f"this failed, or did not end:\n{commands}\nIt has printed:\n{printed}"
        return printed

    def close(self):
        """Ends the shell and all that was started in it."""
        for pid in processes.descendants(self.shell.pid):
            with contextlib.suppress(ProcessLookupError):  # some die with their parent
                os.kill(pid, signal.SIGKILL)
        self.shell.kill()
        processes.finish(self.shell)
        processes.end_orphans_of(self.home)
        processes.assert_none_left()
