"""The cases: what is compared, under which load, and what it must reach. Each is a row of the table below; a way of measuring is a
function of a bench (main.py) and the case that returns rounds: a list of {program: {column: figure}}."""

import dataclasses

import living
import loads
import machine
from programs import MANY, Floor, Haproxy, Nginx, Upswap, many_services
from targets import above, is_, to, to_floor, to_peers


@dataclasses.dataclass
class Case:
    name: str
    what: str
    measure: object
    targets: list
    setting: dict = dataclasses.field(default_factory=dict)  # of programs.Setting
    unit: str = "request"
    size: float = 1  # units of a request
    programs: object = None  # of a setting, where these are not the usual ones


def peers(setting):
    return [Upswap(setting), Haproxy(setting), Nginx(setting)]


def with_floor(setting):
    return [*peers(setting), Floor(setting)]


def with_floors(setting):
    return [*peers(setting), Floor(setting), Floor(setting, "splice")]


def plain_and_logged(setting):
    log = f'access_log = {{ path = "{setting.folder}/access.log"; format = "json"; }};'
    more = many_services(MANY - 1, setting.app)
    return [Upswap(setting), Upswap(setting, "upswap, logged", "logged", log, more)]


def of(load):
    """A way of measuring: the load's figures, and what the program has spent on it; load(program, seconds)."""

    def measure(bench, case):
        return bench.interleave(case, lambda program: bench.spend(case, program, load))

    return measure


def clear(**options):
    return of(lambda program, seconds: loads.wrk(program.clear, seconds, **options))


def tls(**options):
    return of(lambda program, seconds: loads.wrk(program.tls, seconds, tls=True, **options))


def own(connections, *words):
    return of(lambda program, seconds: loads.load(program.setting, program.clear, seconds, connections, *words))


def h2(secure):
    port = "h2" if secure else "h2c"
    return of(lambda program, seconds: loads.h2load(getattr(program, port), seconds, secure, program.setting.folder))


def handshakes(how):
    """The client's share of a full one is the bigger one, so the load's core limits their number: what a core of the proxy can do
    is told by what one costs it."""

    def spend(bench, case, program):
        figures = bench.spend(case, program, lambda program, seconds: loads.handshakes(program.setting, program.tls, seconds, how))
        return {**figures, "a core's handshakes/s": 1e6 / figures["CPU us/handshake"]}

    return lambda bench, case: bench.interleave(case, lambda program: spend(bench, case, program))


def nobody(program):
    """KiB of the same program set up for few clients, without any: tables that are made for many in advance are the clients' too."""
    few = type(program)(dataclasses.replace(program.setting, clients=100)).start()
    try:
        return machine.share_kib(few.pids())
    finally:
        few.stop()


def idle(secure):
    """Of a program that has just begun, and whose clients have all asked once."""

    def hold(program):
        port, certificate = (program.tls, program.setting.certificate) if secure else (program.clear, None)
        with loads.idle(port, MANY, certificate):
            figures = {"held KiB": machine.share_kib(program.pids()), "peak MiB": machine.peak_kib(program.pids()) / 1024}
        program.stop()
        return {"KiB/client": (figures.pop("held KiB") - nobody(program)) / MANY, **figures}

    return lambda bench, case: bench.interleave(case, hold, fresh=True)


def tail(bench, case):
    """At a constant rate, the same for all: half of what the slowest of the three proxies can do."""
    setting = bench.setting(case)
    rates = []
    for program in peers(setting):
        program.start()
        rates.append(loads.wrk(program.clear, bench.seconds)["requests"] / bench.seconds)
        program.stop()
    rate = int(min(rates) / 2)
    bench.say(f"constant rate: {rate} requests/s")
    way = own(64, f"rate={rate}")
    return way(bench, case)


def workers(bench, case):
    """Two cores for the proxy, and two for app and load."""
    if machine.CORES < 4:
        bench.say(f"cannot be shown with {machine.CORES} cores: it takes four")
        return []

    def one_and_two(setting):
        two = dataclasses.replace(setting, workers=2)
        return [Upswap(setting, "one worker", "one"), Upswap(two, "two workers", "two")]

    case = dataclasses.replace(case, programs=one_and_two)
    load = lambda program, seconds: loads.wrk(program.clear, seconds, 128, threads=2, core=(2, 3))  # noqa: E731
    return bench.interleave(case, lambda program: bench.spend(case, program, load), cores=(0, 1))


CPU = "CPU us/request"
MIB = "CPU us/MiB"
SHAKE = "a core's handshakes/s"

CASES = [
    Case("small", "13 bytes, 64 kept connections", clear(), [to_peers(CPU, most=0.75), to_floor(CPU, most=1.10)], programs=with_floor),
    Case("browser", "the same, asked with the 16 fields of a browser", clear(host="www.example.com", fields=loads.BROWSER),
         [to_peers(CPU, most=0.75), to_floor(CPU)], programs=with_floor),
    Case(
        "logged",
        f"the same with an access log and {MANY} services, beside upswap without",
        clear(host="s5000.example.com"),
        [to("upswap", CPU, "upswap, logged", most=1.05)],
        programs=plain_and_logged,
    ),
    Case("16k", "answers of 16 KiB, 64 kept connections", clear(path="/16k"), [to_peers(MIB, most=0.75), to_floor(MIB)],
         {"long": True}, "MiB", 1 / 64, with_floors),
    Case("1m", "answers of 1 MiB, 16 kept connections", clear(path="/1m", connections=16), [to_peers(MIB, most=0.75), to_floor(MIB)],
         {"long": True}, "MiB", 1, with_floors),
    Case("upload", "uploads of 1 MiB, 16 kept connections", own(16, f"upload={loads.MIB}"), [to_peers(MIB, most=0.75), to_floor(MIB)],
         {"long": True}, "MiB", 1, with_floors),
    Case("once", "a connection per request, 64 at a time", own(64, "once"), [to_peers(CPU, most=0.85), to_floor(CPU)],
         {"once": True}, programs=with_floor),
    Case("pipelined", "16 requests at a time on each of 64 connections", clear(depth=16),
         [to_peers(CPU, most=0.75), to_floor(CPU)], programs=with_floor),
    Case("tls", "13 bytes over TLS 1.3, 64 kept connections", tls(), [to_peers(CPU, most=0.85)]),
    Case("full", "full handshakes of TLS 1.3", handshakes("full"), [to_peers(SHAKE, least=1.0)], unit="handshake"),
    Case("resumed", "resumed handshakes of TLS 1.3", handshakes("resumed"), [to_peers(SHAKE, least=1.1)], unit="handshake"),
    Case("h2", "13 bytes over HTTP/2 and TLS, 16 connections x 16 streams", h2(True), [to_peers(CPU, most=0.75)]),
    Case("h2c", "the same without TLS", h2(False), [to_peers(CPU, most=0.75)]),
    Case("idle", f"{MANY} idle clients", idle(False), [to_peers("KiB/client", most=0.5)], {"clients": MANY}),
    Case("idle-tls", f"{MANY} idle clients over TLS", idle(True), [to_peers("KiB/client", most=0.8)], {"clients": MANY}),
    Case("workers", "two workers over one", workers, [to("one worker", "requests/s", "two workers", least=1.8)]),
    Case("tail", "at half of the rate that the slowest can do", tail, [to_peers("p99.9 us", most=1.0)], programs=with_floor),
    Case("swap", f"swaps under full load, {MANY} instances known", living.swap,
         [above("steady", "longest gap ms", "over a swap", most=1.0), is_("decision to publication ms", "over a swap", most=1.0)]),
    Case("gate", "a gate of 500 instances x 5 uptests, beside the uptests alone", living.gate,
         [to("uptests alone", "p99 us", "gate", most=1.05), to("uptests alone", "seconds", "gate", most=1.2)]),
    Case("services", f"start-up and reload with {MANY} services", living.services,
         [is_("first answer s", "start", most=1.0), above("steady", "longest ms", "over a reload", most=5.0)]),
]
