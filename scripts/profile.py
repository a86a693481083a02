"""Lists the functions of a request by their instructions, inclusive and own; called by scripts/profile."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))

from harness import cost  # noqa: E402


def functions(path, inclusive):
    """file:function -> instructions."""
    said = subprocess.run(
        ["callgrind_annotate", "--threshold=100", "--show-percs=no", "--auto=no", f"--inclusive={inclusive}", path],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = re.findall(r"^ *([\d,]+)  (\S.*)$", said, re.M)
    return {shorten(name): int(count.replace(",", "")) for count, name in rows if name != "PROGRAM TOTALS"}


def shorten(name):
    """Of a path what matters: src/ROOM/FILE.c:function, or [LIBRARY]:function."""
    where, _, function = re.sub(r" \[([^]]*)\]$", "", name).rpartition(":")
    library = re.search(r"\[[^]]*?([^/]+\.so[^]]*)\]$", name)
    source = re.search(r"(?:src|tests)/.*", where)
    return f"{source[0] if source else library[1] if library else where}:{function}"


def table(paths, requests, inclusive, rows):
    few, many = (functions(path, inclusive) for path in paths)
    each = {name: (count - few.get(name, 0)) / requests for name, count in many.items()}
    print(f"\ninstructions a request, {'with what is called' if inclusive == 'yes' else 'own'}")
    for name, count in sorted(each.items(), key=lambda item: -item[1])[:rows]:
        print(f"{count:>10.1f}  {name}")
    return sum(each.values())


def main():
    words = sys.argv[1:] + ["clear", "1", "40"][len(sys.argv) - 1 :]
    if len(words) != 3 or words[0] not in cost.KINDS or not all(word.isdecimal() for word in words[1:]):
        sys.exit("usage: scripts/profile [clear|h2c|tls|h2] [AT_ONCE [ROWS]]")
    with cost.profiles(words[0], int(words[1])) as (paths, requests):
        table(paths, requests, "yes", int(words[2]))
        total = table(paths, requests, "no", int(words[2]))
    print(f"\n{words[0]}, {words[1]} at once: {total:.0f} instructions a request")


main()
