"""What the documents say, taken out of them: examples of man pages.

What is run is what a reader would copy.
"""

import os
import re
import subprocess
import textwrap

from .daemon import ROOT


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
