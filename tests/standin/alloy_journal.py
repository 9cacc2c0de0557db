"""`loki.source.journal` and `loki.relabel`."""
from __future__ import annotations

import json
import queue
import re
import shutil
import subprocess
import threading
from typing import Any

from alloy_entry import Entry, as_text
from alloy_files import Positions
from alloy_schema import Receiver, Rules, Section, compiled
from metrics import Metrics

PRIORITIES = ("emerg", "alert", "crit", "error", "warning", "notice", "info", "debug")


class JournalSource:
    """Follows `journalctl`; what it read counts as read only after `commit`."""

    def __init__(self, section: Section, name: str, context: tuple[Positions, Metrics]) -> None:
        self.section, self.name, (self.positions, self.metrics) = section, name, context
        self.receivers: list[Receiver] = section.values["forward_to"]
        self.rules = [Rule(one) for one in section.get("relabel_rules", Rules())]
        self.queue: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=1000)
        self.child: subprocess.Popen | None = None
        self.cursor = ""
        if shutil.which("journalctl") is None:
            section.place.refuse("the stand-in reads the journal with `journalctl`, which is not on PATH")

    def command(self) -> list[str]:
        words = ["journalctl", "--follow", "--output=json", "--no-pager", "--quiet", "--no-tail"]
        cursor = self.positions.cursors.get(self.name)
        age = int(self.section.seconds("max_age", 7 * 3600))
        words += [f"--after-cursor={cursor}"] if cursor else [f"--since=-{age}s"]
        words += [f"--directory={self.section.get('path')}"] if self.section.get("path") else []
        return words + self.section.get("matches", "").split()

    def poll(self) -> int:
        if self.child is None or self.child.poll() is not None:
            self.child = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            threading.Thread(target=self.follow, args=(self.child,), daemon=True).start()
        count = 0
        while count < 1000 and not self.queue.empty():
            fields = self.queue.get()
            self.cursor = fields.get("__CURSOR", self.cursor)
            count += self.forward(fields)
        return count

    def follow(self, child: subprocess.Popen) -> None:
        for line in child.stdout or ():
            try:
                self.queue.put(json.loads(line))
            except ValueError:
                self.metrics.add("loki_source_journal_target_parsing_errors_total",
                                 "Total number of parsing errors while reading journal messages", {"error": "json"})

    def forward(self, fields: dict[str, Any]) -> int:
        text = {name: readable(value) for name, value in fields.items() if value is not None}
        labels = {f"__journal_{name.lower()}": value for name, value in text.items() if not name.startswith("__")}
        if re.fullmatch("[0-7]", text.get("PRIORITY", "")):
            labels["__journal_priority_keyword"] = PRIORITIES[int(text["PRIORITY"])]
        labels.update({"job": self.name, **self.section.get("labels", {})})
        for rule in self.rules:
            if not rule.apply(labels):
                return 0
        kept = {name: value for name, value in labels.items() if not name.startswith("__") and value}
        line = json.dumps(text) if self.section.get("format_as_json", False) else text.get("MESSAGE", "")
        moment = int(text.get("__REALTIME_TIMESTAMP", "0")) * 1000
        for receiver in self.receivers:
            receiver.send(Entry(moment, line, dict(kept)))
        self.metrics.add("loki_source_journal_target_lines_total", "Total number of successful journal lines read", {})
        return 1

    def commit(self) -> None:
        if self.cursor:
            self.positions.cursors[self.name] = self.cursor

    def close(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def readable(value: Any) -> str:
    """A field as text; journalctl writes what is not UTF-8 as a list of bytes."""
    if isinstance(value, list) and all(isinstance(one, int) for one in value):
        return bytes(value).decode("utf-8", "replace")
    return as_text(value[0] if isinstance(value, list) and value else value)


class Rule:
    """One `rule` of `loki.relabel`."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.action = section.get("action", "replace").lower()
        self.pattern = compiled(section.get("regex", "(.*)"), section.place)
        self.sources, self.target = section.get("source_labels", []), section.get("target_label", "")
        if self.action not in ("replace", "keep", "drop", "labeldrop", "labelkeep", "labelmap", "lowercase", "uppercase"):
            section.place.refuse(f"the stand-in knows no action `{self.action}`")
        if self.action in ("replace", "lowercase", "uppercase") and not self.target:
            section.place.refuse(f"the action `{self.action}` wants `target_label`")

    def apply(self, labels: dict[str, str]) -> bool:
        """Changes the labels; says whether the entry goes on."""
        value = self.section.get("separator", ";").join(labels.get(name, "") for name in self.sources)
        found = self.pattern.fullmatch(value)
        if self.action in ("keep", "drop"):
            return bool(found) == (self.action == "keep")
        if self.action in ("labeldrop", "labelkeep", "labelmap"):
            self.by_name(labels)
        elif self.action in ("lowercase", "uppercase"):
            labels[self.target] = value.lower() if self.action == "lowercase" else value.upper()
        elif found:
            text = expanded(self.section.get("replacement", "$1"), found)
            labels.update({self.target: text}) if text else labels.pop(self.target, None)
        return True

    def by_name(self, labels: dict[str, str]) -> None:
        for name in list(labels):
            found = self.pattern.fullmatch(name)
            if self.action == "labelmap" and found:
                labels[expanded(self.section.get("replacement", "$1"), found)] = labels[name]
            elif self.action != "labelmap" and bool(found) == (self.action == "labeldrop"):
                del labels[name]


def expanded(text: str, found: re.Match) -> str:
    """Puts the groups of a match in the place of `$1` and `${name}`."""
    def one(match: re.Match) -> str:
        key = match.group(1) or match.group(2)
        try:
            return found.group(int(key) if key.isdigit() else key) or ""
        except (IndexError, KeyError):
            return ""
    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", one, text)


class Relabel(Receiver):
    """`loki.relabel`: changes labels, or drops entries by them."""

    def __init__(self, section: Section) -> None:
        self.exported = Rules(section.sections)
        self.rules = [Rule(one) for one in section.sections]
        self.receivers: list[Receiver] = section.values["forward_to"]

    def send(self, entry: Entry) -> None:
        if all(rule.apply(entry.labels) for rule in self.rules):
            for receiver in self.receivers:
                receiver.send(entry.copy())
