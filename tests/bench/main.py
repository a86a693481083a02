"""The benchmark, called by scripts/bench with the build folder and its arguments: runs cases, round by round, A B C A B C."""

import argparse
import os
import signal
import sys
import tempfile

import machine
import programs
import report
from cases import CASES, peers

WARM_UP = 1  # seconds


class Bench:
    """What the ways of measuring in cases.py are given."""

    def __init__(self, folder, build, rounds, seconds):
        self.folder, self.build, self.rounds, self.seconds = folder, build, rounds, seconds
        programs.make_certificate(os.path.join(folder, "site.pem"))
        self.app = programs.App(build)

    def setting(self, case):
        return programs.Setting(self.folder, self.build, self.app.port, **case.setting)

    @staticmethod
    def say(sentence):
        print(sentence, flush=True)

    def tell_round(self, number, figures):
        for name, each in figures.items():
            self.say(f"round {number + 1}  {name:<16} {report.line(each)}")

    def interleave(self, case, measure, fresh=False, cores=(machine.PROXY_CORE,)):
        """Rounds of measure(program) of all programs; fresh: each begins for each round."""
        made = (case.programs or peers)(self.setting(case))
        rounds = []
        try:
            for number in range(self.rounds):
                figures = {}
                for program in made:
                    if program.process is None:
                        program.start(cores)
                    figures[program.name] = measure(program)
                    self.tell_round(number, {program.name: figures[program.name]})
                    if fresh:
                        program.stop()
                rounds.append(figures)
        finally:
            for program in made:
                program.stop()
        return rounds

    def spend(self, case, program, load):
        """The columns of a load that the program has been under, and what that has cost it."""
        load(program, WARM_UP)
        pids = program.pids()
        before = machine.cpu_ns(pids)
        told = load(program, self.seconds)
        spent = machine.cpu_ns(pids) - before
        units = told["requests"] * case.size
        times = {column: value for column, value in told.items() if column.startswith("p") and column.endswith(" us")}
        return {
            f"{case.unit}/s" if case.unit == "MiB" else f"{case.unit}s/s": units / told["seconds"],
            f"CPU us/{case.unit}": spent / units / 1000,
            **times,
            "peak MiB": machine.peak_kib(pids) / 1024,
        }

    def close(self):
        self.app.stop()


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", epilog="cases: " + "; ".join(f"{case.name}: {case.what}" for case in CASES))
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each program in a round")
    parser.add_argument("--json", default="bench.json", metavar="FILE")
    parsed = parser.parse_intermixed_args(sys.argv[2:])
    unknown = set(parsed.cases) - {case.name for case in CASES}
    if unknown or parsed.rounds < 1 or parsed.seconds < 1:
        parser.error(f"unknown case {', '.join(unknown)}" if unknown else "rounds and seconds are at least 1")
    return parsed


def main():
    build, asked = sys.argv[1], arguments()
    if machine.CORES < 2:
        sys.exit("scripts/bench needs two cores: one for the proxy, one for the app and the load")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.sched_setaffinity(0, {machine.LOAD_CORE})
    results = []
    with tempfile.TemporaryDirectory(prefix="upswap-bench-") as folder:
        os.chmod(folder, 0o755)
        bench = Bench(folder, build, asked.rounds, asked.seconds)
        try:
            for case in CASES:
                if not asked.cases or case.name in asked.cases:
                    bench.say(f"\n{case.name}: {case.what}")
                    results.append(report.judged(case, case.measure(bench, case)))
                    report.table(results[-1])
        finally:
            bench.close()
    report.summary(results)
    report.write(asked.json, build, asked.rounds, asked.seconds, results)
    print(f"all figures: {os.path.abspath(asked.json)}")


main()
