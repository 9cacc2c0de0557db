"""The stages that drop entries, or choose those that further stages see."""
from __future__ import annotations

import time

import logql
from alloy_entry import Entry, Stage, as_text
from alloy_schema import Section, compiled
from alloy_time import NANO
from common import BadRequest, duration
from logql_stages import size
from logql_tree import Log, Row
from metrics import Metrics


def drop(section: Section, metrics: Metrics) -> Stage:
    """Drops an entry when all that is given holds for it."""
    pattern = compiled(section.get("expression", ""), section.place) if section.get("expression") else None
    reason = section.get("drop_counter_reason", "drop_stage")
    names = [name.strip() for name in section.get("source", "").split(",") if name.strip()]
    if not any(name in section.values for name in ("source", "expression", "older_than", "longer_than")):
        section.place.refuse("`stage.drop` wants one of `source`, `expression`, `older_than`, `longer_than`")
    if "value" in section.values and ("expression" in section.values or not names):
        section.place.refuse("`value` of `stage.drop` goes with `source`, and not with `expression`")

    def falls(entry: Entry) -> bool:
        text: str | None = entry.line
        if names:
            found = [entry.extracted.get(name) for name in names]
            text = None if None in found else section.get("separator", ";").join(as_text(value) for value in found)
        if names and text is None or "value" in section.values and text != section.values["value"]:
            return False
        if pattern and not pattern.search(text or ""):
            return False
        if "older_than" in section.values and time.time() - entry.time / NANO <= duration(section.values["older_than"]):
            return False
        return "longer_than" not in section.values or len(entry.line.encode()) > size(section.values["longer_than"])

    return lambda entry: not falls(entry) or count_drop(metrics, reason)


def count_drop(metrics: Metrics, reason: str) -> bool:
    metrics.add("loki_process_dropped_lines_total", "A count of all log lines dropped as a result of a pipeline stage", {"reason": reason})
    return False


def match(section: Section, metrics: Metrics, stages: list[Stage]) -> Stage:
    """Stages, or a drop, for the entries that a selector fits."""
    try:
        selector = logql.parse(section.values["selector"])
    except BadRequest as bad:
        section.place.refuse(f"`selector`: {bad}")
    action = section.get("action", "keep")
    if not isinstance(selector, Log) or action not in ("keep", "drop"):
        section.place.refuse("`stage.match` wants a log selector, and the action `keep` or `drop`")
    if (action == "drop") == bool(stages):
        section.place.refuse("`stage.match` with the action `keep` wants stages, with `drop` it takes none")

    def run(entry: Entry) -> bool:
        fits = all(one.takes(entry.labels) for one in selector.matchers)
        row = Row(entry.time, entry.line, entry.labels)
        if not fits or not all(stage.run(row) for stage in selector.stages):
            return True
        if action == "drop":
            return count_drop(metrics, section.get("drop_counter_reason", "match_stage"))
        return all(stage(entry) for stage in stages)
    return run
