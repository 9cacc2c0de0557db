"""Keeps log lines in memory and in one file, and takes in what is pushed."""
from __future__ import annotations

import bisect
import json
import re
import threading
import time
from pathlib import Path
from typing import Any, Iterable, NamedTuple

from common import BadRequest, Refusal, duration, log
from logql_stages import logfmt, size
from logql_tree import Matcher, Row

NANO = 1_000_000_000
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
SERVICE_LABELS = ["service", "app", "application", "app_name", "name", "app_kubernetes_io_name", "container", "container_name",
                  "k8s_container_name", "component", "workload", "job", "k8s_job_name"]
LEVEL_FIELDS = ["level", "LEVEL", "Level", "log.level", "severity", "SEVERITY", "Severity", "SeverityText", "lvl", "LVL", "Lvl",
                "severity_text", "Severity_Text", "SEVERITY_TEXT"]
LEVELS = {"trace": "trace", "trc": "trace", "debug": "debug", "dbg": "debug", "info": "info", "inf": "info",
          "information": "info", "warn": "warn", "wrn": "warn", "warning": "warn", "error": "error", "err": "error",
          "critical": "critical", "fatal": "fatal"}
LEVEL_WORD = re.compile(r"(?<![a-z0-9])(trace|debug|fatal|critical|error|err|warning|warn|info)(?![a-z0-9])")


class Limits(NamedTuple):
    """The part of `limits_config` that the stand-in keeps to."""

    reject_old_samples: bool = True
    reject_old_samples_max_age: float = 7 * 86400
    creation_grace_period: float = 600
    max_line_size: float = 256 * 1024
    max_label_names_per_series: int = 15
    max_entries_limit_per_query: int = 5000
    allow_structured_metadata: bool = True
    discover_log_levels: bool = True
    discover_service_name: Any = SERVICE_LABELS


def limits(settings: dict[str, Any]) -> Limits:
    """Reads `limits_config`."""
    readers = {"reject_old_samples_max_age": duration, "creation_grace_period": duration, "max_line_size": size}
    try:
        given = {name: readers.get(name, lambda value: value)(value if name not in readers else str(value))
                 for name, value in settings.items() if name in Limits._fields}
    except ValueError as error:
        raise Refusal(f"`limits_config`: {error}") from error
    return Limits(**given)


class Stream:
    """The lines of one set of labels, in the order of their time."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels
        self.entries: list[tuple[int, str, dict[str, str]]] = []

    def insert(self, entry: tuple[int, str, dict[str, str]]) -> None:
        at = len(self.entries)
        if at and self.entries[-1][0] > entry[0]:
            at = bisect.bisect_right([known[0] for known in self.entries], entry[0])
        before = at
        while before and self.entries[before - 1][0] == entry[0]:
            before -= 1
            if self.entries[before] == entry:
                # As in Loki, the same line at the same time counts once.
                return
        self.entries.insert(at, entry)


class Store:
    """All streams of all tenants."""

    def __init__(self, directory: Path, bounds: Limits) -> None:
        self.limits, self.lock = bounds, threading.Lock()
        self.tenants: dict[str, dict[tuple, Stream]] = {}
        path = directory / "entries.jsonl"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.file = open(path, "ab", buffering=0)
            self._load(path)
        except OSError as error:
            raise Refusal(f"cannot keep lines in `{path}`: {error}") from error

    def _load(self, path: Path) -> None:
        *lines, torn = path.read_bytes().split(b"\n")
        if torn:
            # The program was killed while it wrote the last line.
            log(f"{path}: the last line is torn; it is cut off")
            self.file.truncate(path.stat().st_size - len(torn))
        for number, line in enumerate(lines, 1):
            try:
                tenant, labels, moment, text, metadata = json.loads(line)
            except ValueError:
                log(f"{path}:{number}: not a line of this store; skipped")
                continue
            self._insert(tenant, labels, (moment, text, metadata))

    def _insert(self, tenant: str, labels: dict[str, str], entry: tuple[int, str, dict[str, str]]) -> None:
        streams = self.tenants.setdefault(tenant, {})
        streams.setdefault(tuple(sorted(labels.items())), Stream(labels)).insert(entry)

    def push(self, tenant: str, body: bytes) -> tuple[int, int]:
        """Takes in a request body; gives the number of lines and of their bytes."""
        accepted, refused = [], None
        for labels, values in read_streams(body):
            labels = self._checked(labels)
            for value in values:
                entry = read_entry(value)
                try:
                    accepted.append((labels, self._prepared(labels, entry)))
                except BadRequest as bad:
                    refused = refused or bad
        text = "".join(json.dumps([tenant, labels, *entry], ensure_ascii=False) + "\n" for labels, entry in accepted)
        with self.lock:
            self._append(text.encode())
            for labels, entry in accepted:
                self._insert(tenant, labels, entry)
        if refused:
            raise refused
        return len(accepted), sum(len(entry[1].encode()) for _, entry in accepted)

    def _append(self, data: bytes) -> None:
        size_before = self.file.seek(0, 2)
        written = 0
        try:
            while written < len(data):
                written += self.file.write(data[written:])
        except OSError:
            # A full disk must not leave half a line, to which the next one would be glued.
            self.file.truncate(size_before)
            raise

    def _checked(self, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not NAME.fullmatch(name):
                raise BadRequest(f"couldn't parse labels: parse error: `{name}` is not a label name")
        labels = {name: value for name, value in labels.items() if value}
        if not labels and not self.limits.discover_service_name:
            raise BadRequest("error at least one label pair is required per stream")
        found = self.limits.discover_service_name
        if found and "service_name" not in labels:
            labels["service_name"] = next((labels[name] for name in found if name in labels), "unknown_service")
        if len(labels) > self.limits.max_label_names_per_series + 1:
            raise BadRequest(f"stream '{shown(labels)}' has {len(labels)} label names; "
                             f"limit {self.limits.max_label_names_per_series}")
        return labels

    def _prepared(self, labels: dict[str, str], entry: tuple[int, str, dict[str, str]]) -> tuple[int, str, dict[str, str]]:
        moment, line, metadata = entry
        age, bounds = time.time() - moment / NANO, self.limits
        if bounds.reject_old_samples and age > bounds.reject_old_samples_max_age:
            oldest = stamp(time.time() - bounds.reject_old_samples_max_age)
            raise BadRequest(f"entry for stream '{shown(labels)}' has timestamp too old: {stamp(moment / NANO)}, "
                             f"oldest acceptable timestamp is: {oldest}")
        if -age > bounds.creation_grace_period:
            raise BadRequest(f"entry for stream '{shown(labels)}' has timestamp too new: {stamp(moment / NANO)}")
        if bounds.max_line_size and len(line.encode()) > bounds.max_line_size:
            raise BadRequest(f"max entry size `{bounds.max_line_size:g}` bytes exceeded for stream '{shown(labels)}'")
        if metadata and not bounds.allow_structured_metadata:
            raise BadRequest(f"stream '{shown(labels)}' includes structured metadata, but it is disabled by `allow_structured_metadata`")
        if bounds.discover_log_levels and "detected_level" not in metadata:
            metadata = {**metadata, "detected_level": detected_level(line, {**labels, **metadata})}
        return moment, line, metadata

    def rows(self, tenant: str, matchers: list[Matcher], start: int, end: int) -> Iterable[Row]:
        """The rows of the streams that fit, with start <= time < end."""
        for stream in self.streams(tenant, matchers):
            with self.lock:
                entries = stream.entries[:]
            for moment, line, metadata in entries:
                if start <= moment < end:
                    yield Row(moment, line, {**metadata, **stream.labels})

    def streams(self, tenant: str, matchers: list[Matcher]) -> list[Stream]:
        with self.lock:
            known = list(self.tenants.get(tenant, {}).values())
        return [stream for stream in known if all(matcher.takes(stream.labels) for matcher in matchers)]


def read_streams(body: bytes) -> Iterable[tuple[dict[str, str], list]]:
    """The streams of a push; a body of another shape is refused."""
    try:
        value = json.loads(body)
        if b"\\u" in body:
            # JSON can hold half a surrogate pair, which is no text.
            json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    streams = value.get("streams", []) if isinstance(value, dict) else None
    if not isinstance(streams, list):
        raise BadRequest('wanted {"streams": [{"stream": {...}, "values": [["<ns>", "<line>"]]}]}')
    if not streams:
        raise BadRequest("error at least one valid stream is required for ingestion", 422)
    for stream in streams:
        labels, values = (stream.get("stream"), stream.get("values")) if isinstance(stream, dict) else (None, None)
        if not isinstance(labels, dict) or not isinstance(values, list) or not all(isinstance(one, str) for one in labels.values()):
            raise BadRequest("a stream wants `stream`, an object of strings, and `values`, a list")
        yield labels, values


def read_entry(value: Any) -> tuple[int, str, dict[str, str]]:
    fits = (isinstance(value, list) and len(value) in (2, 3) and isinstance(value[0], str) and isinstance(value[1], str)
            and re.fullmatch(r"-?[0-9]{1,19}", value[0]) and abs(int(value[0])) < 2**63)
    metadata = value[2] if fits and len(value) == 3 else {}
    if not fits or not isinstance(metadata, dict) or not all(isinstance(one, str) for one in metadata.values()):
        raise BadRequest('a value wants the shape ["<nanoseconds>", "<line>"], or a third item, an object of strings')
    return int(value[0]), value[1], metadata


def detected_level(line: str, labels: dict[str, str]) -> str:
    """Guesses a line's level the way Loki does: labels, then fields of the line, then words in it."""
    for name in LEVEL_FIELDS:
        if name in labels:
            return LEVELS.get(labels[name].lower(), labels[name])
    fields: dict[str, Any] = {}
    if line.lstrip()[:1] == "{":
        try:
            fields = json.loads(line)
        except ValueError:
            pass
    elif "=" in line:
        fields = logfmt(line)
    for name in LEVEL_FIELDS:
        level = LEVELS.get(str(fields.get(name, "")).lower())
        if level:
            return level
    word = LEVEL_WORD.search(line.lower())
    return LEVELS[word.group(1)] if word else "unknown"


def shown(labels: dict[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
