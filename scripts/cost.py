"""Counts what a request costs, and compares it with what is committed, or commits to it; called by scripts/cost."""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))

from harness import cost  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/cost")
    parser.add_argument("--update", metavar="WHY")
    parser.add_argument("kinds", nargs="*", metavar="|".join(cost.KINDS))
    parsed = parser.parse_args()
    for kind in parsed.kinds:
        if kind not in cost.KINDS:
            parser.error(f"unknown kind {kind}")
    return parsed.update, parsed.kinds or cost.KINDS


def measure(kind, before):
    """Prints a line, and returns the figures."""
    counted, calls = round(cost.instructions(kind)), cost.system_calls(kind)
    said = f"{before['instructions']:>8} committed {counted / before['instructions']:>6.3f}" if before else "none committed"
    print(f"{kind:<6} {counted:>8} instructions {said}  {sum(calls.values()):.2f} system calls: {calls}", flush=True)
    return {"instructions": counted, "system calls": calls}


def main():
    why, kinds = arguments()
    reason = cost.why_not()
    if reason:
        sys.exit(f"scripts/cost: {reason}")
    figures = cost.committed()
    measured = {kind: measure(kind, figures.get(kind)) for kind in kinds}
    if why:
        cost.commit({**figures, "why": why, **measured})
        return
    faults = [cost.fault_of_instructions(kind, each["instructions"], figures) for kind, each in measured.items()]
    faults += [cost.fault_of_calls(kind, each["system calls"], figures) for kind, each in measured.items()]
    sys.exit("\n".join(filter(None, faults)) or 0)


main()
