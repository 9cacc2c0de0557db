"""What a LogQL expression is made of."""
from __future__ import annotations

import re
from typing import Any, Callable, NamedTuple, Union


class Row:
    """One line on its way; `base` are the labels that it came with."""

    __slots__ = ("time", "line", "labels", "base")

    def __init__(self, time: int, line: str, labels: dict[str, str]) -> None:
        self.time, self.line, self.labels, self.base = time, line, dict(labels), labels

    def extract(self, name: str, value: str) -> None:
        """Sets a label that a parser found; it never hides one that the line came with."""
        name = re.sub(r"[^a-zA-Z0-9_]", "_", name)
        name = "_" + name if name[:1].isdigit() else name
        self.labels[f"{name}_extracted" if name in self.base else name] = value

    def fail(self, kind: str, details: str) -> None:
        self.labels.update(__error__=kind, __error_details__=details)


class Stage(NamedTuple):
    """One step; `run` says whether the line goes on. `reads_labels`: it needs what the parsers before it found."""

    run: Callable[[Row], bool]
    reads_labels: bool


def compare(operator: str, found: str, wanted: str) -> bool:
    """Applies a string operator; a pattern must fit the whole value."""
    if operator in ("=~", "!~"):
        return bool(re.fullmatch(wanted, found, re.S)) == (operator == "=~")
    return (found == wanted) == (operator in ("=", "=="))


class Matcher(NamedTuple):
    """One condition on a stream's label."""

    name: str
    operator: str
    value: str

    def takes(self, labels: dict[str, str]) -> bool:
        return compare(self.operator, labels.get(self.name, ""), self.value)


class Unwrap(NamedTuple):
    """Takes a number out of a label."""

    label: str
    convert: Callable[[str], float]


class Log(NamedTuple):
    """A selector and what its lines go through."""

    matchers: list[Matcher]
    stages: list[Stage]
    unwrap: Unwrap | None = None


class Grouping(NamedTuple):
    """The labels that are kept (`by`) or taken away (`without`)."""

    keyword: str
    labels: list[str]


class Range(NamedTuple):
    """A function over the lines of a window."""

    function: str
    parameter: float | None
    log: Log
    seconds: float
    offset: float
    grouping: Grouping | None


class Aggregate(NamedTuple):
    """A function over the series of one moment."""

    function: str
    parameter: float | None
    inner: Any
    grouping: Grouping | None


class Binary(NamedTuple):
    """Two expressions and an operator between them."""

    operator: str
    left: Any
    right: Any
    as_bool: bool


class Number(NamedTuple):
    """A number; `vector` says whether it stands for a series without labels."""

    value: float
    vector: bool


Expression = Union[Log, Range, Aggregate, Binary, Number]
