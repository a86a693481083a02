"""A random walk over all that can be done to a service, under load. After each step nothing is lost that a rule does not
allow, and in the end nothing is stuck and nothing is left. A failure names its seed; UPSWAP_WALK_SEEDS="7 8" walks others,
UPSWAP_WALK_STEPS="200" further, UPSWAP_WALK_SECONDS="600" for that long at least. scripts/soak does so."""

import os
import time

import pytest

from harness.waiting import wait_until
from harness.walk import Walk

SEEDS = [int(word) for word in os.environ.get("UPSWAP_WALK_SEEDS", "1 2 3").split()]
STEPS = int(os.environ.get("UPSWAP_WALK_STEPS", "16"))
SECONDS = float(os.environ.get("UPSWAP_WALK_SECONDS", "0"))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_walk_loses_nothing_and_gets_stuck_nowhere(make_stand, make_backend, seed):
    walk = Walk(seed, make_stand, make_backend)
    end = time.monotonic() + SECONDS
    try:
        while walk.counts["steps"] < STEPS or time.monotonic() < end:
            walk.step()
        walk.stand.events.listeners.clear()
        wait_until(walk.daemon.is_serving)
        walk.settle()
        walk.check_teardowns()
        print(f"\nseed {seed}: {walk.totals()}")
    except BaseException as fault:
        steps = "\n".join(str(step) for step in walk.log)
        raise AssertionError(f"seed {seed}, at the last of these steps:\n{steps}") from fault
    finally:
        walk.close()
    assert walk.daemon.stop() == 0
