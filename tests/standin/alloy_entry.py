"""What goes through the stages of `loki.process`."""
from __future__ import annotations

import json
from typing import Any, Callable

from common import well_formed


class Entry:
    """One log line on its way to Loki."""

    __slots__ = ("time", "line", "labels", "metadata", "extracted")

    def __init__(self, moment: int, line: str, labels: dict[str, str]) -> None:
        self.time, self.line, self.labels = moment, line, labels
        self.metadata: dict[str, str] = {}
        self.extracted: dict[str, Any] = {}

    def copy(self) -> "Entry":
        twin = Entry(self.time, self.line, dict(self.labels))
        twin.metadata = dict(self.metadata)
        return twin


# A stage changes the entry and says whether it goes on.
Stage = Callable[[Entry], bool]


def as_text(value: Any) -> str:
    """An extracted value as a label has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return well_formed(value) if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
