"""Metrics in the Prometheus text format."""
from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from common import VERSION, Answer

STARTED = round(time.time(), 3)


class Metrics:
    """Counters, gauges and histograms in the Prometheus text format."""

    BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

    def __init__(self, name: str) -> None:
        self.lock = threading.Lock()
        self.families: dict[str, tuple[str, str, dict[tuple, Any]]] = {}
        self.set(f"{name}_build_info", "The version that runs.", {"version": VERSION}, 1)

    def add(self, name: str, text: str, labels: dict[str, str], amount: float = 1) -> None:
        with self.lock:
            cells = self._cells(name, "counter", text)
            key = tuple(sorted(labels.items()))
            cells[key] = cells.get(key, 0) + amount

    def set(self, name: str, text: str, labels: dict[str, str], value: float) -> None:
        kind = "counter" if name.endswith("_total") else "gauge"
        with self.lock:
            self._cells(name, kind, text)[tuple(sorted(labels.items()))] = value

    def observe(self, name: str, text: str, labels: dict[str, str], seconds: float) -> None:
        with self.lock:
            cells = self._cells(name, "histogram", text)
            cell = cells.setdefault(tuple(sorted(labels.items())), [0.0] + [0] * (len(self.BUCKETS) + 1))
            cell[0] += seconds
            cell[1 + sum(1 for bound in self.BUCKETS if seconds > bound)] += 1

    def _cells(self, name: str, kind: str, text: str) -> dict[tuple, Any]:
        return self.families.setdefault(name, (kind, text, {}))[2]

    def answer(self) -> Answer:
        """What `/metrics` answers."""
        return Answer(200, self.text().encode(), "text/plain; version=0.0.4; charset=utf-8")

    def text(self) -> str:
        self._process()
        with self.lock:
            lines = []
            for name, (kind, text, cells) in sorted(self.families.items()):
                lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
                for key, value in sorted(cells.items()):
                    lines += self._histogram(name, key, value) if kind == "histogram" else [_sample(name, key, value)]
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str, key: tuple, cell: list) -> list[str]:
        lines, total = [], 0
        for bound, count in zip((*(f"{bound:g}" for bound in self.BUCKETS), "+Inf"), cell[1:]):
            total += count
            lines.append(_sample(f"{name}_bucket", (*key, ("le", bound)), total))
        return lines + [_sample(f"{name}_sum", key, cell[0]), _sample(f"{name}_count", key, total)]

    def _process(self) -> None:
        times = os.times()
        self.set("process_cpu_seconds_total", "CPU time used.", {}, times.user + times.system)
        self.set("process_start_time_seconds", "When the program started.", {}, STARTED)
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.set("process_resident_memory_bytes", "Memory in use.", {}, pages * os.sysconf("SC_PAGE_SIZE"))
            self.set("process_open_fds", "Open files and sockets.", {}, len(os.listdir("/proc/self/fd")))
        except OSError:
            pass


def _sample(name: str, key: tuple, value: float) -> str:
    labels = ",".join(f'{label}="{escape_label(text)}"' for label, text in key)
    return f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def escape_label(text: str) -> str:
    """Escapes a label value for the Prometheus text format."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
