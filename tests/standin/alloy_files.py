"""`loki.source.file`: finds files and reads their new lines, through rotation and truncation."""
from __future__ import annotations

import glob
import json
import os
import re
import stat
import time
from pathlib import Path
from typing import Iterable, NamedTuple

from alloy_entry import Entry
from alloy_schema import Receiver, Section
from common import Refusal, log, write_whole
from metrics import Metrics

CHUNK = 1024 * 1024
LINGER = 2.0


class Positions:
    """How far each file has been read and delivered, kept below the storage path."""

    def __init__(self, storage: Path) -> None:
        self.path = storage / "standin-positions.json"
        self.known: dict[str, list[int]] = {}
        self.cursors: dict[str, str] = {}
        self.saved = ""
        try:
            storage.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                value = json.loads(self.path.read_text(encoding="utf-8"))
                self.known, self.cursors = value["files"], value["journals"]
            self.save()
        except OSError as error:
            raise Refusal(f"cannot keep positions in `{self.path}`: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(f"`{self.path}` is damaged ({error}); remove it to read all files from their start") from error

    def save(self) -> None:
        text = json.dumps({"files": self.known, "journals": self.cursors})
        if text != self.saved:
            write_whole(self.path, text)
            self.saved = text


class Target(NamedTuple):
    """A path or pattern with its labels."""

    path: str
    exclude: str
    labels: dict[str, str]


class Matched(list):
    """The targets that `local.file_match` exports: patterns, and how often to look for them."""

    def __init__(self, section: Section) -> None:
        super().__init__(section.values["path_targets"])
        self.sync = section.seconds("sync_period", 10.0)
        self.youngest = section.seconds("ignore_older_than", 0.0)


class FileSource:
    """Polls its files; what it read counts as read only after `commit`."""

    def __init__(self, section: Section, name: str, context: tuple[Positions, Metrics]) -> None:
        self.name, (self.positions, self.metrics) = name, context
        self.receivers: list[Receiver] = section.values["forward_to"]
        targets = section.values["targets"]
        self.targets = [target(one, section) for one in targets]
        self.from_end = section.get("tail_from_end", False)
        matching = section.first("file_match")
        self.globs = isinstance(targets, Matched) or bool(matching and matching.get("enabled", False))
        self.sync, self.youngest = (targets.sync, targets.youngest) if isinstance(targets, Matched) else (10.0, 0.0)
        if matching and not isinstance(targets, Matched):
            self.sync, self.youngest = matching.seconds("sync_period", 10.0), matching.seconds("ignore_older_than", 0.0)
        self.found: dict[str, dict[str, str]] = {}
        self.looked = -1e9
        self.tails: dict[str, Tail] = {}
        self.draining: list[tuple[float, Tail, dict[str, str]]] = []

    def poll(self) -> int:
        """Reads what is new and sends it on; gives the number of lines."""
        if time.monotonic() - self.looked >= (self.sync if self.globs else 0):
            self.found, self.looked = dict(self.discover()), time.monotonic()
        count = 0
        for path, labels in self.found.items():
            count += self.read(path, labels)
        count += self.drain()
        self.metrics.set("loki_source_file_files_active_total", "Number of active files.", {}, len(self.tails))
        return count

    def drain(self) -> int:
        """Reads the files that were moved away, and lets go of those whose time is over."""
        count, kept = 0, []
        for until, tail, labels in self.draining:
            count += self.forward(tail, tail.lines(), labels)
            if time.monotonic() < until:
                kept.append((until, tail, labels))
            else:
                count += self.forward(tail, tail.rest(), labels)
                tail.close()
        self.draining = kept
        return count

    def discover(self) -> Iterable[tuple[str, dict[str, str]]]:
        for one in self.targets:
            if not self.globs:
                yield one.path, one.labels
                continue
            excluded = {path for pattern in braces(one.exclude) for path in glob.glob(pattern, recursive=True)} if one.exclude else set()
            for path in sorted({path for pattern in braces(one.path) for path in glob.glob(pattern, recursive=True)} - excluded):
                fresh = not self.youngest or os.path.exists(path) and time.time() - os.stat(path).st_mtime < self.youngest
                if fresh and not os.path.isdir(path):
                    yield path, one.labels

    def read(self, path: str, labels: dict[str, str]) -> int:
        tail = self.tails.get(path)
        try:
            there = os.stat(path)
        except OSError:
            there = None
        if tail and (there is None or there.st_ino != tail.inode):
            # The file was moved away; what is still written to it comes for a moment, then the new one alone counts.
            self.draining.append((time.monotonic() + LINGER, self.tails.pop(path), labels))
            tail = None
        if there is None:
            return 0
        if tail is None:
            tail = self.open(path)
            if tail is None:
                return 0
            self.tails[path] = tail
        return self.forward(tail, tail.lines(), labels)

    def open(self, path: str) -> "Tail | None":
        try:
            tail = Tail(path)
        except OSError as error:
            if path not in WARNED:
                log(f"cannot read `{path}`: {error}")
                WARNED.add(path)
            return None
        inode, offset = self.positions.known.get(f"{self.name} {path}", (0, -1))
        if offset < 0 and self.from_end:
            tail.offset = os.fstat(tail.file).st_size
        elif inode == tail.inode and offset <= os.fstat(tail.file).st_size:
            tail.offset = offset
        return tail

    def forward(self, tail: "Tail", lines: list[str], labels: dict[str, str]) -> int:
        for line in lines:
            moment = max(time.time_ns(), FileSource.last + 1)
            FileSource.last = moment
            for receiver in self.receivers:
                receiver.send(Entry(moment, line, {**labels, "filename": tail.path}))
        if lines:
            self.metrics.add("loki_source_file_read_lines_total", "Number of lines read.", {"path": tail.path}, len(lines))
        self.metrics.set("loki_source_file_read_bytes_total", "Number of bytes read.", {"path": tail.path}, tail.offset)
        return len(lines)

    last = 0

    def commit(self) -> None:
        """What was read has been delivered."""
        for path, tail in self.tails.items():
            self.positions.known[f"{self.name} {path}"] = [tail.inode, tail.offset]

    def close(self) -> None:
        for tail in [*self.tails.values(), *(tail for _, tail, _ in self.draining)]:
            tail.close()


WARNED: set[str] = set()


def target(value: object, section: Section) -> Target:
    """Checks one item of `targets`."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()) or not value.get("__path__"):
        section.place.refuse(f"a target wants a map of strings with `__path__`, found `{value!r}`")
    labels = {name: text for name, text in value.items() if not name.startswith("__")}
    return Target(os.path.abspath(value["__path__"]), value.get("__path_exclude__", ""), labels)


def braces(pattern: str) -> list[str]:
    """Spells out `{a,b}`, which Python's glob does not know."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    return [whole for choice in found.group(1).split(",") for whole in braces(pattern[:found.start()] + choice + pattern[found.end():])]


class Tail:
    """One open file and how far it was read."""

    def __init__(self, path: str) -> None:
        self.path, self.offset = path, 0
        self.file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        known = os.fstat(self.file)
        self.inode = known.st_ino
        if not stat.S_ISREG(known.st_mode):
            os.close(self.file)
            raise OSError("it is not a regular file")

    def lines(self) -> list[str]:
        """The next whole lines."""
        if os.fstat(self.file).st_size < self.offset:
            log(f"`{self.path}` was truncated; reading it from its start")
            self.offset = 0
        data = os.pread(self.file, CHUNK, self.offset)
        # A line that is longer than what is read at once is cut.
        return self.take(data, len(data) if b"\n" not in data and len(data) == CHUNK else data.rfind(b"\n") + 1)

    def rest(self) -> list[str]:
        """What stands after the last line end."""
        data = os.pread(self.file, CHUNK, self.offset)
        return self.take(data, len(data))

    def take(self, data: bytes, length: int) -> list[str]:
        self.offset += length
        lines = data[:length].removesuffix(b"\n").split(b"\n") if length else []
        return [line.rstrip(b"\r").decode("utf-8", "replace") for line in lines]

    def close(self) -> None:
        os.close(self.file)
