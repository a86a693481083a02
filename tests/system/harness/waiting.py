"""Waiting with a limit: for a predicate where there is no event to wait for."""

import os
import select
import time

# Seconds; long enough for a loaded machine, short enough for a hung test. Longer where the program runs many times slower.
PATIENCE = float(os.environ.get("UPSWAP_PATIENCE", "15"))


def wait_until(predicate, timeout=PATIENCE, what="the condition"):
    """Looks until predicate() is true and returns what it gave; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        select.select([], [], [], 0.005)


def stays(predicate, seconds, what="the condition"):
    """Looks for `seconds` and fails as soon as predicate() is no longer true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert predicate(), f"{what} did not stay true for {seconds} s"
        select.select([], [], [], 0.02)
