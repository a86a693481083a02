"""Measures what the shadow gate costs live requests: latency at a fixed rate, without and with it, in pairs.

usage: shadow.py BUILD [PAIRS], as scripts/shadow calls it
"""

import os
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "system"))

from harness.daemon import Daemon  # noqa: E402
from harness.waiting import wait_until  # noqa: E402

SECONDS = 6
CLIENTS = 16
RATE = 125  # requests a second of each client
SHADOW = {"share": 0.05, "seconds": SECONDS + 2, "minimum": 100}
NGINX = """worker_processes 1; daemon off; pid {0}/pid; error_log /dev/null; events {{}}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {0}/b; proxy_temp_path {0}/p;
fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
server {{ {1} location / {{ return 200 "hello"; }} }} }}
"""


def instances(folder):
    """nginx on two Unix sockets, the live and the staged instance."""
    paths = [f"{folder}/live", f"{folder}/staged"]
    config = f"{folder}/nginx.conf"
    with open(config, "w", encoding="utf-8") as file:
        file.write(NGINX.format(folder, " ".join(f"listen unix:{path};" for path in paths)))
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", config])
    wait_until(lambda: all(os.path.exists(path) for path in paths), what="nginx")
    return process, [f"unix:{path}" for path in paths]


def measure(port, folder):
    """Median and 99th percentile in microseconds."""
    log = f"{folder}/log"
    subprocess.run(
        ["h2load", "--h1", f"-c{CLIENTS}", "-t1", f"--rps={RATE}", f"-D{SECONDS}", f"--log-file={log}"]
        + [f"http://127.0.0.1:{port}/"],
        check=True,
        capture_output=True,
    )
    with open(log, encoding="utf-8") as file:
        times = sorted(int(line.split()[2]) for line in file)
    os.unlink(log)
    return times[len(times) // 2], times[len(times) * 99 // 100]


def pair(daemon, staged, folder):
    without = measure(daemon.port, folder)
    deployment = daemon.admin.stage([staged], allow_untested=True, hold=True)
    events.wait("shadow.started", deployment=deployment)
    shadowed = measure(daemon.port, folder)
    wait_until(lambda: daemon.admin.deployment(deployment)["state"] in ("held", "rejected"), what="the verdict")
    compared = daemon.admin.deployment(deployment)["shadow"]["compared"]
    if daemon.admin.deployment(deployment)["state"] == "held":
        daemon.admin.command("abort")
    wait_until(lambda: daemon.admin.pool(deployment) is None, what="the pool to go")
    print(f"without: p50 {without[0]} p99 {without[1]} us; with: p50 {shadowed[0]} p99 {shadowed[1]} us; {compared} compared", flush=True)
    return without, shadowed


os.environ["UPSWAP_BUILD"] = os.path.abspath(sys.argv[1])
with tempfile.TemporaryDirectory() as temporary:
    os.chmod(temporary, 0o755)
    nginx, (live, candidate) = instances(temporary)
    upswapd = Daemon([{"name": "web", "instances": [live], "uptests": {"required": False}, "shadow": SHADOW}], workers=1)
    try:
        upswapd.start()
        events = upswapd.events()
        measure(upswapd.port, temporary)
        pairs = [pair(upswapd, candidate, temporary) for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 5)]
        for index, name in enumerate(("p50", "p99")):
            sides = [statistics.median(side[index] for side in column) for column in zip(*pairs)]
            ratio = statistics.median(shadowed[index] / without[index] for without, shadowed in pairs)
            print(f"{name}: {sides[0]:.0f} us without, {sides[1]:.0f} us with; median of the pairs' ratios {ratio:.3f}")
    finally:
        nginx.terminate()
        nginx.wait()
        upswapd.discard()
