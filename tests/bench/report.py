"""What is told: a line a round, a table a case, and all of it as one JSON file."""

import json
import os
import platform
import statistics
import subprocess
import time

import machine


def _number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def line(figures):
    return "  ".join(f"{column} {_number(value)}" for column, value in figures.items())


def medians(rounds):
    """program -> column -> the median of the rounds."""
    rows = {}
    for figures in rounds:
        for program, columns in figures.items():
            for column, value in columns.items():
                rows.setdefault(program, {}).setdefault(column, []).append(value)
    return {program: {column: statistics.median(values) for column, values in columns.items()} for program, columns in rows.items()}


def judged(case, rounds):
    """The result of a case."""
    return {
        "case": case.name,
        "what": case.what,
        "programs": medians(rounds),
        "targets": [target.judge(rounds) for target in case.targets],
        "rounds": rounds,
    }


def table(result):
    columns = list(dict.fromkeys(column for figures in result["programs"].values() for column in figures))
    widths = [max(len(column), 9) + 2 for column in columns]
    print(f"\n{result['case']}: {result['what']}")
    if columns:
        print(f"  {'median of rounds':<18}" + "".join(f"{column:>{width}}" for column, width in zip(columns, widths)))
    for program, figures in result["programs"].items():
        print(f"  {program:<18}" + "".join(f"{_number(figures.get(column)):>{width}}" for column, width in zip(columns, widths)))
    for target in result["targets"]:
        verdict = {True: "reached", False: "MISSED", None: "not shown"}[target["reached"]] if target["must"] else ""
        print(f"  {target['what']}: {_number(target['value'])}  {target['must']}  {verdict}".rstrip())
    print(flush=True)


def summary(results):
    """All targets, one a line."""
    rows = [(result["case"], target) for result in results for target in result["targets"] if target["must"]]
    print(f"{'case':<11}{'':<52}{'is':>9}  {'must be':<9}")
    for case, target in rows:
        verdict = {True: "reached", False: "MISSED", None: "not shown here"}[target["reached"]]
        print(f"{case:<11}{target['what']:<52}{_number(target['value']):>9}  {target['must']:<9}{verdict}")


def _version(argv):
    said = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": machine.SBIN})
    return (said.stdout + said.stderr).splitlines()[0]


def write(path, build, rounds, seconds, results):
    told = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": machine.CORES, "kernel": platform.release(), "load": os.getloadavg()},
        "versions": {
            "upswap": _version([os.path.join(build, "upswapd"), "-V"]),
            "haproxy": _version(["haproxy", "-v"]),
            "nginx": _version(["nginx", "-v"]),
        },
        "rounds": rounds,
        "seconds": seconds,
        "cases": results,
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(told, file, indent=1)
        file.write("\n")
