"""The stages of `loki.process`."""
from __future__ import annotations

import json
import re
from datetime import timezone
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import alloy_filters
from alloy_entry import Entry, Stage, as_text
from alloy_schema import Receiver, Section, compiled
from alloy_time import reader
from common import log
from go_template import Template, TemplateError
from logql_stages import logfmt
from metrics import Metrics


class Process(Receiver):
    """`loki.process`: stages, then the receivers."""

    def __init__(self, section: Section, metrics: Metrics) -> None:
        self.stages = [build(stage, metrics) for stage in section.sections]
        self.receivers: list[Receiver] = section.values["forward_to"]

    def send(self, entry: Entry) -> None:
        # The labels an entry comes with are extracted values too.
        entry.extracted = dict(entry.labels)
        if all(stage(entry) for stage in self.stages):
            for receiver in self.receivers:
                receiver.send(entry.copy())


def build(section: Section, metrics: Metrics) -> Stage:
    """The function of one stage."""
    name = section.name[len("stage."):]
    if name in ("multiline", "limit"):
        log(f"the stand-in does not act on `{section.name}`; lines go on as they are")
        return lambda entry: True
    if name == "drop":
        return alloy_filters.drop(section, metrics)
    if name == "match":
        return alloy_filters.match(section, metrics, [build(inner, metrics) for inner in section.sections])
    return STAGES[name](section)


def source_of(section: Section, entry: Entry) -> str | None:
    name = section.get("source", "")
    if not name:
        return entry.line
    value = entry.extracted.get(name)
    return None if value is None else as_text(value)


def json_stage(section: Section) -> Stage:
    paths = {name: json_paths(text or name, section) for name, text in section.get("expressions", {}).items()}
    pattern = compiled(section.get("regex", ""), section.place) if section.get("regex") else None

    def run(entry: Entry) -> bool:
        try:
            value = json.loads(source_of(section, entry) or "")
        except ValueError:
            return not section.get("drop_malformed", False)
        for name, choices in paths.items():
            entry.extracted[name] = first_there(value, choices)
        for name, inner in (value.items() if pattern and isinstance(value, dict) else ()):
            if pattern.search(name):
                entry.extracted[name] = inner
        return True
    return run


def json_paths(text: str, section: Section) -> list[list[str | int]]:
    """Reads a JMESPath of names, dots and indexes, or several with `||` between them."""
    word = r'(?:[A-Za-z_][A-Za-z0-9_]*|"(?:[^"\\]|\\.)*")'
    found = []
    for part in text.split("||"):
        if not re.fullmatch(rf"{word}(?:\.{word}|\[[0-9]+\])*", part.strip()):
            section.place.refuse(f"`{text}`: the stand-in knows JMESPath with names, dots, indexes and `||` only")
        steps = re.findall(rf"({word})|\[([0-9]+)\]", part)
        found.append([int(index) if index else json.loads(name) if name[0] == '"' else name for name, index in steps])
    return found


def first_there(value: Any, paths: list[list[str | int]]) -> Any:
    """What the first path finds that finds more than nothing, as JMESPath's `||` has it."""
    found = [walk(value, path) for path in paths]
    return next((one for one in found if one or one == 0 and one is not False), found[-1])


def walk(value: Any, path: list[str | int]) -> Any:
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
    return value


def logfmt_stage(section: Section) -> Stage:
    mapping = section.get("mapping", {})

    def run(entry: Entry) -> bool:
        found = logfmt(source_of(section, entry) or "")
        entry.extracted.update({name: found[key or name] for name, key in mapping.items() if (key or name) in found})
        return True
    return run


def regex_stage(section: Section) -> Stage:
    pattern = compiled(section.values["expression"], section.place)
    if not pattern.groupindex:
        section.place.refuse("`expression` wants at least one named group, such as `(?P<level>[A-Z]+)`")

    def run(entry: Entry) -> bool:
        found = pattern.search(source_of(section, entry) or "")
        groups = {name: value for name, value in (found.groupdict() if found else {}).items() if value is not None}
        entry.extracted.update(groups)
        if section.get("labels_from_groups", False):
            entry.labels.update(groups)
        return True
    return run


def labels_stage(section: Section) -> Stage:
    def run(entry: Entry) -> bool:
        source = entry.metadata if section.get("source_type") == "structured_metadata" else entry.extracted
        for label, name in section.values["values"].items():
            value = source.get(name or label)
            if value is not None:
                entry.labels[label] = as_text(value)
        return True
    return run


def static_labels_stage(section: Section) -> Stage:
    return lambda entry: entry.labels.update({name: value for name, value in section.values["values"].items() if value}) is None


def label_drop_stage(section: Section) -> Stage:
    return lambda entry: [entry.labels.pop(name, None) for name in section.values["values"]] is not None


def label_keep_stage(section: Section) -> Stage:
    def run(entry: Entry) -> bool:
        entry.labels = {name: value for name, value in entry.labels.items() if name in section.values["values"]}
        return True
    return run


def metadata_stage(section: Section) -> Stage:
    def run(entry: Entry) -> bool:
        for label, name in section.get("values", {}).items():
            # A label that becomes metadata is no label any more.
            value = entry.labels.pop(name or label, entry.extracted.get(name or label))
            if value is not None:
                entry.metadata[label] = as_text(value)
        return True
    return run


def metadata_drop_stage(section: Section) -> Stage:
    return lambda entry: [entry.metadata.pop(name, None) for name in section.values["values"]] is not None


def output_stage(section: Section) -> Stage:
    def run(entry: Entry) -> bool:
        value = entry.extracted.get(section.values["source"])
        entry.line = entry.line if value is None else as_text(value)
        return True
    return run


def template_stage(section: Section) -> Stage:
    try:
        template = Template(section.values["template"], "<no value>")
    except ValueError as error:
        section.place.refuse(f"`template`: {error}")

    def run(entry: Entry) -> bool:
        name = section.values["source"]
        known = {field: as_text(value) for field, value in entry.extracted.items() if value is not None}
        value = {"Value": known[name]} if name in known else {}
        try:
            text = template.run({**known, **value, "Entry": entry.line})
        except TemplateError:
            # Like the real one: a template that fails changes nothing.
            return True
        entry.extracted.update({name: text}) if text else entry.extracted.pop(name, None)
        return True
    return run


def decolorize_stage(_section: Section) -> Stage:
    def run(entry: Entry) -> bool:
        entry.line = re.sub(r"\x1b\[[0-9;]*m", "", entry.line)
        return True
    return run


def location(name: str) -> Any:
    """A time zone; None is the machine's own, as Python has it."""
    return None if name == "Local" else ZoneInfo(name) if name else timezone.utc


def timestamp_stage(section: Section) -> Stage:
    try:
        zone = location(section.get("location", ""))
    except (ZoneInfoNotFoundError, ValueError):
        section.place.refuse(f"`{section.get('location')}` is not a location of the time zone database")
    readers = [reader(layout, zone, section) for layout in (section.values["format"], *section.get("fallback_formats", []))]
    last: dict[tuple, int] = {}

    def run(entry: Entry) -> bool:
        value = entry.extracted.get(section.values["source"])
        found = [] if value is None else [one for one in (read(as_text(value)) for read in readers) if one is not None]
        key = tuple(sorted(entry.labels.items()))
        if found:
            repeated = found[0] == last.get(key) and section.get("action_on_duplicate_timestamp", "fudge") == "fudge"
            entry.time = found[0] + 1 if repeated else found[0]
        elif section.get("action_on_failure", "fudge") == "fudge" and key in last:
            entry.time = last[key] + 1
        last[key] = entry.time
        return True
    return run


STAGES = {"json": json_stage, "logfmt": logfmt_stage, "regex": regex_stage, "labels": labels_stage, "static_labels": static_labels_stage,
          "label_drop": label_drop_stage, "label_keep": label_keep_stage, "structured_metadata": metadata_stage,
          "structured_metadata_drop": metadata_drop_stage, "output": output_stage, "template": template_stage,
          "decolorize": decolorize_stage, "timestamp": timestamp_stage}
