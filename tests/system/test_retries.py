"""Retries: at most so many other instances, and no more of them than the budget allows."""

from harness.backend import Backend

OFF = {"interval": "0s"}
COUNTED = {"failures": 1000000}  # so that each request finds out anew which instance cannot be connected to


def start(start_own_front, dead, alive=0, **retries):
    backends = [Backend(f"dead-{number}", listen=False) for number in range(dead)]
    backends += [Backend(f"alive-{number}") for number in range(alive)]
    service = {"health": OFF, "retries": retries, "balance": "round_robin", "ejection": COUNTED}
    return start_own_front(*backends, service=service, workers=1)


def counted(front, name, **labels):
    found = {"service": "web", "pool": front.admin.live(), **labels}
    return front.admin.metrics()[name, frozenset(found.items())]


def refused(front):
    return counted(front, "upswap_upstream_errors_total", kind="connect_refused")


def test_a_request_goes_to_so_many_other_instances(start_own_front):
    front = start(start_own_front, dead=6, attempts=2)
    answer = front.ask()
    assert (answer.status, answer.upswap) == (502, "connect-refused")
    assert refused(front) == 3
    assert counted(front, "upswap_retries_total") == 2


def test_by_default_to_three(start_own_front):
    front = start(start_own_front, dead=6)
    assert front.ask().status == 502
    assert refused(front) == 4


def test_without_attempts_the_first_failure_stands(start_own_front):
    front = start(start_own_front, dead=1, alive=1, attempts=0)
    assert sorted(front.ask().status for _ in range(4)) == [200, 200, 502, 502]


def test_more_attempts_find_the_one_that_is_alive(start_own_front):
    front = start(start_own_front, dead=10, alive=1, attempts=15)
    assert {front.ask().status for _ in range(5)} == {200}


class Unreachable:
    """An instance that TCP has no way to, on any machine: the address of all."""

    address, faults = "255.255.255.255:9", ()

    def close(self):
        pass


def start_half_reachable(start_own_front, budget):
    service = {"health": OFF, "retries": {"budget": budget}, "balance": "round_robin", "ejection": COUNTED}
    return start_own_front(Unreachable(), Backend("alive"), service=service, workers=1)


def test_a_used_up_budget_ends_the_retries_and_the_failure_is_answered(start_own_front):
    front = start_half_reachable(start_own_front, budget=0)
    answers = []
    with front.client() as client:
        for _ in range(600):
            answers.append(client.ask())
    statuses = [answer.status for answer in answers]
    assert statuses[:100] == [200] * 100  # each has tried the other one first
    denied = statuses.count(502)
    assert 0 < denied <= 500
    assert {answer.upswap for answer in answers if answer.status == 502} == {"connect-failed"}
    assert counted(front, "upswap_retries_denied_total") == denied
    assert counted(front, "upswap_retries_total") >= 100


def test_a_budget_grows_with_the_requests(start_own_front):
    front = start_half_reachable(start_own_front, budget=1)
    with front.client() as client:
        assert {client.ask().status for _ in range(600)} == {200}
    assert counted(front, "upswap_retries_denied_total") == 0


def test_an_instance_that_has_died_costs_no_request_however_many_it_would_have_had(start_own_front):
    front = start(start_own_front, dead=1, alive=1, budget=0)
    with front.client() as client:
        assert {client.ask().status for _ in range(1000)} == {200}
    assert refused(front) >= 450
    assert counted(front, "upswap_retries_denied_total") == 0


def test_a_request_with_a_body_that_no_instance_has_seen_is_retried_too(start_own_front):
    front = start(start_own_front, dead=1, alive=1)
    assert [front.ask("POST", body=b"once").status for _ in range(4)] == [200] * 4
    assert len(front.backends[1].requests) == 4
