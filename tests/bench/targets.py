"""What a case must reach, as rows of data: a figure of one program against that of others, taken in each round, since within a round
all have met the same machine; the median of the rounds counts."""

import dataclasses
import statistics

PEERS = ("haproxy", "nginx")
FLOORS = ("floor", "floor, splice")


@dataclasses.dataclass
class Target:
    what: str
    most: float = None
    least: float = None
    value: object = None  # of a round: {program: figures} -> number, or None: it has none

    def judge(self, rounds):
        values = [value for value in map(self.value, rounds) if value is not None]
        if not values:
            return {"what": self.what, "value": None, "must": self.must(), "reached": None}
        value = statistics.median(values)
        reached = (self.most is None or value <= self.most) and (self.least is None or value >= self.least)
        return {"what": self.what, "value": value, "must": self.must(), "reached": reached}

    def must(self):
        if self.most is not None:
            return f"<= {self.most:g}"
        return f">= {self.least:g}" if self.least is not None else ""


def _best(figures, names, column):
    """The least there is, or the most where more is better."""
    values = [figures[name][column] for name in names if column in figures.get(name, {})]
    better = max if column.endswith("/s") else min
    return better(values) if values else None


def _ratio(figures, of, names, column):
    value, best = _best(figures, [of], column), _best(figures, names, column)
    return value / best if value is not None and best else None


def to_peers(column, of="upswap", **limits):
    return Target(f"{column} to the best peer", value=lambda figures: _ratio(figures, of, PEERS, column), **limits)


def to_floor(column, of="upswap", **limits):
    return Target(f"{column} to the floor", value=lambda figures: _ratio(figures, of, FLOORS, column), **limits)


def to(other, column, of="upswap", **limits):
    return Target(f"{column} of {of} to {other}", value=lambda figures: _ratio(figures, of, [other], column), **limits)


def above(other, column, of, **limits):
    """The difference."""
    return Target(f"{column}, {of} less {other}", value=lambda figures: figures[of][column] - figures[other][column], **limits)


def is_(column, of="upswap", **limits):
    return Target(f"{column} of {of}", value=lambda figures: figures[of][column], **limits)
