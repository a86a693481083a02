"""What Prometheus is told, against its own tools; and doc/metrics.md, conf/alerts.yml and conf/grafana-dashboard.json, which must
not name what is not there."""

import json
import os
import re
import subprocess
import time

import pytest

from harness.admin import parse_metrics
from harness.backend import Backend
from harness.certificates import Authority, TlsClient
from harness.daemon import ROOT
from harness.waiting import wait_until

ALERTS = os.path.join(ROOT, "conf", "alerts.yml")
RULE_TESTS = os.path.join(ROOT, "tests", "system", "alerts.test.yml")
SUFFIXES = r"_(bucket|sum|count)$"  # of the series of histograms and summaries


def read(*names):
    with open(os.path.join(ROOT, *names), encoding="utf-8") as file:
        return file.read()


def promtool(*arguments, text=None):
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def documented():
    """The lines of the table: {name: (type, labels, what)}."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) \| (.+) \|$", read("doc", "metrics.md"), re.M)
    return {name: (kind, set(labels.replace(",", " ").split()), what) for name, kind, labels, what in rows}


def named(expression):
    return {re.sub(SUFFIXES, "", name) if name not in documented() else name for name in re.findall(r"\bupswap_\w+", expression)}


@pytest.fixture(scope="module")
def text(start_front, tmp_path_factory):
    """The metrics of a daemon in which something of everything has happened."""
    folder = str(tmp_path_factory.mktemp("metrics"))
    suite = os.path.join(folder, "uptests")
    os.mkdir(suite)
    with open(os.path.join(suite, '01_a"b'), "w", encoding="ascii") as file:
        file.write("#!/bin/sh\n")
    os.chmod(os.path.join(suite, '01_a"b'), 0o755)
    authority = Authority(folder)
    site = authority.issue("app.test")
    front = start_front(
        Backend("one"), service={"uptests": {"directory": suite, "schedule": "1s"}},
        listeners=[{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": site.setting}],
    )
    front.ask()
    front.ask(host="bad host")
    TlsClient(front.daemon.ports()[1], authority.context()).close()
    next_one = Backend("two")
    try:
        assert front.daemon.upswap("stage", "web", next_one.address, "--release", "v2").returncode == 0
        assert front.daemon.upswap("stage", "web", front.backend.address, "--hold").returncode == 0
        wait_until(lambda: any(name == "upswap_instance_uptests_passing" for name, _ in front.admin.metrics()), what="a run")
        yield front.admin.request("GET", "/metrics").body.decode()
    finally:
        next_one.close()


def test_promtool_finds_nothing_to_complain_of(text):
    promtool("check", "metrics", text=text)


def test_metrics_md_has_each_metric_with_its_type_and_its_words_and_no_other(text):
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    words = dict(re.findall(r"^# HELP (\w+) (.+)$", text, re.M))
    told = {name: (kind, what) for name, (kind, _, what) in documented().items()}
    assert told == {name: (types[name], words[name]) for name in types}


def test_metrics_md_has_the_labels_of_each_series(text):
    rows, seen = documented(), {}
    for name, labels in parse_metrics(text):
        base = name if name in rows else re.sub(SUFFIXES, "", name)
        seen.setdefault(base, set()).update(key for key, _ in labels)
    for name, labels in seen.items():
        assert labels == rows[name][1], name
    assert set(rows) == set(seen)


def test_what_may_be_alerted_on_is_there_with_0_before_it_happens(start_own_front):
    front = start_own_front(Backend("one"))
    metrics = front.admin.metrics()
    for name, result in (("deployments", "rolled_back"), ("teardowns", "failed"), ("watches", "failed")):
        assert metrics[f"upswap_{name}_total", frozenset({("service", "web"), ("result", result)})] == 0
    assert metrics["upswap_proxy_restarts_total", frozenset()] == metrics["upswap_journal_failures_total", frozenset()] == 0
    front.daemon.kill_role("proxy")
    wait_until(lambda: front.admin.metrics()["upswap_proxy_restarts_total", frozenset()] == 1, what="the restart to be counted")


def test_a_running_deployment_has_its_phase_and_an_ended_one_has_none(stand, make_backend):
    def phases():
        return {dict(labels)["phase"]: value for (name, labels), value in stand.admin.metrics().items()
                if name == "upswap_deployment_phase_seconds"}

    assert phases() == {}
    assert stand.daemon.upswap("stage", "web", make_backend("next").address, "--hold").returncode == 0
    so_far = phases()["held"]
    wait_until(lambda: phases()["held"] > so_far, what="time to pass")
    assert stand.admin.command("abort").status == 200
    wait_until(lambda: phases() == {}, what="its end")


def test_the_first_certificate_of_a_listener_to_expire_is_told_over_restarts_and_reloads(make_daemon, tmp_path):
    authority = Authority(str(tmp_path))
    soon, late = authority.issue("soon.test", days=3), authority.issue("late.test", days=20)
    tls = {**late.setting, "certificates": [soon.setting]}
    daemon = make_daemon(listeners=[{"address": "127.0.0.1:0", "tls": tls}, {"address": "127.0.0.1:0"}]).start()

    def days():
        ends = [value for (name, _), value in daemon.admin.metrics().items()
                if name == "upswap_certificate_expiry_timestamp_seconds"]
        return [round((end - time.time()) / 86400) for end in ends]

    assert days() == [3]
    daemon.kill_role("control")
    assert days() == [3]
    del tls["certificates"]
    daemon.write_config()
    assert daemon.upswap("reload").returncode == 0
    assert days() == [20]


# ---- conf/alerts.yml ----


def test_promtool_understands_the_alert_rules():
    promtool("check", "rules", ALERTS)


def test_each_alert_fires_and_does_not_fire_where_it_must_not(tmp_path):
    tests = tmp_path / "alerts.test.yml"
    tests.write_text(read("tests", "system", "alerts.test.yml").replace("[ALERTS]", f"[{ALERTS}]"))
    promtool("test", "rules", str(tests))


def test_each_alert_is_tested_both_ways():
    alerts = set(re.findall(r"- alert: (\w+)", read("conf", "alerts.yml")))
    checks = re.split(r"^ +- (?=\{?eval_time)", read("tests", "system", "alerts.test.yml"), flags=re.M)[1:]
    fires, quiet = set(), set()
    for check in checks:
        (fires if "exp_alerts" in check else quiet).add(re.search(r"alertname: (\w+)", check).group(1))
    assert alerts and fires == alerts == quiet


def test_the_alert_rules_name_metrics_that_there_are():
    names = named(read("conf", "alerts.yml"))
    assert names and names <= set(documented())


# ---- conf/grafana-dashboard.json ----


def dashboard():
    return json.loads(read("conf", "grafana-dashboard.json"))


def expressions(board):
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])
    yield from (annotation["expr"] for annotation in board["annotations"]["list"])
    yield from (each["query"]["query"] for each in board["templating"]["list"] if each["type"] == "query")


def test_the_dashboard_names_metrics_that_there_are():
    names = set().union(*map(named, expressions(dashboard())))
    assert names and names <= set(documented())


def test_the_dashboards_expressions_are_prometheus(tmp_path):
    """As recording rules, with a value for each of Grafana's variables."""
    values = {"$service": ".*", "$__rate_interval": "1m", "$__range": "1h"}
    rules = []
    for number, expression in enumerate(each for each in expressions(dashboard()) if "label_values" not in each):
        for variable, value in values.items():
            expression = expression.replace(variable, value)
        assert "$" not in expression
        rules.append({"record": f"rule:{number}", "expr": expression})
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    promtool("check", "rules", str(path))


def test_the_dashboards_panels_have_a_place_each():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken = [
        (column, line)
        for place in (panel["gridPos"] for panel in panels)
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken)) and all(0 <= column < 24 for column, _ in taken)
