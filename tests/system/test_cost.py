"""What a request costs the worker that serves it is what was committed in tests/cost/figures.json: counted, not timed. That it
costs no call of malloc is tests/unit/plane/test_plane_allocations."""

import pytest

from harness import cost

FIGURES = {"clear": {"instructions": 10000, "system calls": {"epoll_wait": 2, "recvfrom": 2}}}


@pytest.fixture
def figures():
    reason = cost.why_not()
    if reason:
        pytest.skip(reason)
    return cost.committed()


@pytest.mark.parametrize("kind", cost.KINDS)
def test_a_request_takes_as_many_instructions_as_are_committed(kind, figures):
    fault = cost.fault_of_instructions(kind, cost.instructions(kind), figures)
    assert not fault, fault


@pytest.mark.parametrize("kind", cost.KINDS)
def test_a_request_makes_the_system_calls_that_are_committed(kind, figures):
    fault = cost.fault_of_calls(kind, cost.system_calls(kind), figures)
    assert not fault, fault


@pytest.mark.parametrize("measured, is_fault", [(9100, False), (10900, False), (8900, True), (11100, True)])
def test_more_than_a_tenth_of_the_instructions_is_noticed_either_way(measured, is_fault):
    assert bool(cost.fault_of_instructions("clear", measured, FIGURES)) == is_fault


@pytest.mark.parametrize(
    "measured, is_fault",
    [
        ({"epoll_wait": 2.02, "recvfrom": 2}, False),
        ({"epoll_wait": 1.8, "recvfrom": 2}, False),
        ({"epoll_wait": 2.2, "recvfrom": 2}, True),
        ({"epoll_wait": 2, "recvfrom": 1.8}, True),
        ({"epoll_wait": 2, "recvfrom": 3}, True),
        ({"epoll_wait": 2, "recvfrom": 2, "epoll_ctl": 1}, True),
        ({"epoll_wait": 2}, True),
    ],
)
def test_a_system_call_more_or_less_is_noticed(measured, is_fault):
    assert bool(cost.fault_of_calls("clear", measured, FIGURES)) == is_fault
