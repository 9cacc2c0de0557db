"""Evaluates LogQL expressions over the lines of a store."""
from __future__ import annotations

import bisect
import math
from collections import defaultdict
from typing import Any, Callable, Iterable

from common import BadRequest
from logql_tree import Aggregate, Binary, Expression, Grouping, Log, Number, Range, Row

Labels = tuple  # sorted pairs of name and value
Vector = dict   # of Labels to a number
NANO = 1_000_000_000
HIDES_ERRORS = ("count_over_time", "rate", "bytes_over_time", "bytes_rate")


# `source(matchers, start, end)` gives the rows with start <= time < end, oldest first in each stream.
Source = Callable[[list, int, int], Iterable[Row]]


def log_rows(log: Log, source: Source, start: int, end: int) -> list[Row]:
    """The rows that come out of a pipeline."""
    return [row for row in source(log.matchers, start, end) if all(stage.run(row) for stage in log.stages)]


def streams(log: Log, source: Source, span: tuple[int, int], order: tuple[str, int]) -> list[dict[str, Any]]:
    """The answer to a log query; `order` is the direction and the limit."""
    rows = log_rows(log, source, *span)
    rows.sort(key=lambda row: row.time, reverse=order[0] == "backward")
    found: dict[Labels, list] = {}
    for row in rows[:order[1]]:
        found.setdefault(tuple(sorted(row.labels.items())), []).append([str(row.time), row.line])
    return [{"stream": dict(labels), "values": values} for labels, values in sorted(found.items())]


def evaluate(expression: Expression, source: Source, times: list[int]) -> list[Vector | float]:
    """The value of a metric expression at each time."""
    if isinstance(expression, Number):
        return [{(): expression.value} if expression.vector else expression.value for _ in times]
    if isinstance(expression, Range):
        return range_values(expression, source, times, refuse_error)
    if isinstance(expression, Aggregate):
        return aggregate_values(expression, source, times)
    if isinstance(expression, Binary):
        left, right = evaluate(expression.left, source, times), evaluate(expression.right, source, times)
        return [combine(expression, one, other) for one, other in zip(left, right)]
    raise BadRequest("log queries are not supported here; wrap the query in a function such as `count_over_time`")


# Functions over a window of lines

def range_values(expression: Range, source: Source, times: list[int], fault: Callable[[Row], None]) -> list[Vector]:
    if not times:
        return []
    width, offset = int(expression.seconds * NANO), int(expression.offset * NANO)
    rows = log_rows(expression.log, source, times[0] - offset - width, times[-1] - offset + 1)
    series: dict[Labels, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for row in sorted(rows, key=lambda row: row.time):
        if expression.log.unwrap and expression.log.unwrap.label not in row.labels:
            continue
        value = sample(expression, row)
        if "__error__" in row.labels:
            fault(row)
        if value is not None:
            moments, values = series[grouped(row.labels, expression.grouping)]
            moments.append(row.time)
            values.append(value)
    return [window(expression, series, (time - offset - width, time - offset)) for time in times]


def window(expression: Range, series: dict, span: tuple[int, int]) -> Vector:
    """The value of every series over the lines with span[0] < time <= span[1]."""
    found: Vector = {}
    for labels, (moments, values) in series.items():
        first, last = bisect.bisect_right(moments, span[0]), bisect.bisect_right(moments, span[1])
        if first < last:
            found[labels] = REDUCE[expression.function](values[first:last], expression)
    if expression.function == "absent_over_time":
        fixed = tuple(sorted((one.name, one.value) for one in expression.log.matchers if one.operator == "="))
        return {} if found else {fixed: 1.0}
    return found


def sample(expression: Range, row: Row) -> float | None:
    """The number that a row counts for; None where its label is no number."""
    unwrap = expression.log.unwrap
    if unwrap is None:
        return float(len(row.line.encode())) if expression.function.startswith("bytes") else 1.0
    try:
        return unwrap.convert(row.labels.pop(unwrap.label))
    except ValueError as error:
        row.fail("SampleExtractionErr", str(error))
        return None


def refuse_error(row: Row) -> None:
    shown = ", ".join(f'{name}="{value}"' for name, value in sorted(row.labels.items()))
    raise BadRequest(f"pipeline error: '{row.labels['__error__']}' for series: '{{{shown}}}'.\n"
                     'Use a label filter to skip it, such as `| __error__=""`')


def quantile(values: list[float], expression: Range) -> float:
    ordered, share = sorted(values), expression.parameter or 0.0
    if share < 0 or share > 1:
        return math.copysign(math.inf, share)
    rank = share * (len(ordered) - 1)
    low = int(rank)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (rank - low)


REDUCE: dict[str, Callable[[list[float], Range], float]] = {
    "count_over_time": lambda values, _: float(len(values)),
    "rate": lambda values, expression: sum(values) / expression.seconds,
    "bytes_over_time": lambda values, _: sum(values),
    "bytes_rate": lambda values, expression: sum(values) / expression.seconds,
    "absent_over_time": lambda values, _: 1.0,
    "sum_over_time": lambda values, _: sum(values),
    "avg_over_time": lambda values, _: sum(values) / len(values),
    "min_over_time": lambda values, _: min(values),
    "max_over_time": lambda values, _: max(values),
    "first_over_time": lambda values, _: values[0],
    "last_over_time": lambda values, _: values[-1],
    "quantile_over_time": quantile,
}


# Functions over the series of a moment

def grouped(labels: dict[str, str], grouping: Grouping | None) -> Labels:
    """The labels that are left after `by` or `without`."""
    if grouping is None:
        kept = labels
    elif grouping.keyword == "by":
        kept = {name: labels[name] for name in grouping.labels if labels.get(name)}
    else:
        kept = {name: value for name, value in labels.items() if name not in grouping.labels}
    return tuple(sorted(kept.items()))


def aggregate_values(expression: Aggregate, source: Source, times: list[int]) -> list[Vector]:
    inner, grouping = expression.inner, expression.grouping
    if isinstance(inner, Range) and hides_errors(expression):
        values = range_values(inner, source, times, lambda row: None)
    else:
        values = evaluate(inner, source, times)
    if any(not isinstance(value, dict) for value in values):
        raise BadRequest(f"parse error: `{expression.function}` wants series, not a number")
    if expression.function in ("sort", "sort_desc"):
        reverse = expression.function == "sort_desc"
        return [dict(sorted(value.items(), key=lambda item: item[1], reverse=reverse)) for value in values]
    by = grouping or Grouping("by", [])
    return [aggregated(expression, value, by) for value in values]


def hides_errors(expression: Aggregate) -> bool:
    """Loki does not parse lines at all, and so finds no error, where a plain `sum` needs none of their labels."""
    inner, grouping = expression.inner, expression.grouping
    return (expression.function == "sum" and (grouping is None or grouping == ("by", []))
            and inner.function in HIDES_ERRORS and inner.log.unwrap is None
            and not any(stage.reads_labels for stage in inner.log.stages))


def aggregated(expression: Aggregate, vector: Vector, by: Grouping) -> Vector:
    groups: dict[Labels, list[tuple[float, Labels]]] = defaultdict(list)
    for labels, value in vector.items():
        groups[grouped(dict(labels), by)].append((value, labels))
    if expression.function in ("topk", "bottomk"):
        sign = -1 if expression.function == "topk" else 1
        return {labels: value for members in groups.values()
                for value, labels in sorted(members, key=lambda one: (sign * one[0], one[1]))[:int(expression.parameter or 0)]}
    reduce = {"sum": sum, "min": min, "max": max, "count": len, "avg": lambda values: sum(values) / len(values)}
    return {labels: float(reduce[expression.function]([value for value, _ in members])) for labels, members in groups.items()}


# Operators

def power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except (OverflowError, ValueError):
        return math.nan


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "^": power,
    "/": lambda a, b: a / b if b else math.nan if a == 0 else math.copysign(math.inf, a),
    "%": lambda a, b: math.fmod(a, b) if b else math.nan}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b}


def combine(expression: Binary, left: Vector | float, right: Vector | float) -> Vector | float:
    if expression.operator in ("and", "or", "unless"):
        return by_presence(expression.operator, left, right)
    if not isinstance(left, dict) and not isinstance(right, dict):
        value = applied(expression, left, right)
        return 0.0 if value is None else value
    if isinstance(left, dict) and isinstance(right, dict):
        pairs = {labels: (value, right[labels]) for labels, value in left.items() if labels in right}
    elif isinstance(left, dict):
        pairs = {labels: (value, right) for labels, value in left.items()}
    else:
        pairs = {labels: (left, value) for labels, value in right.items()}
    found = {labels: applied(expression, *pair) for labels, pair in pairs.items()}
    if expression.operator in COMPARISONS and not isinstance(left, dict) and not expression.as_bool:
        # A comparison keeps the series' own value, also where the number stands on the left.
        found = {labels: None if value is None else pairs[labels][1] for labels, value in found.items()}
    return {labels: value for labels, value in found.items() if value is not None}


def applied(expression: Binary, left: float, right: float) -> float | None:
    """The result for two numbers; None where a comparison takes the series away."""
    if expression.operator in ARITHMETIC:
        return ARITHMETIC[expression.operator](left, right)
    holds = COMPARISONS[expression.operator](left, right)
    return float(holds) if expression.as_bool else left if holds else None


def by_presence(operator: str, left: Vector | float, right: Vector | float) -> Vector:
    if not isinstance(left, dict) or not isinstance(right, dict):
        raise BadRequest(f"parse error: `{operator}` wants series on both sides")
    if operator == "or":
        return {**right, **left}
    return {labels: value for labels, value in left.items() if (labels in right) == (operator == "and")}
