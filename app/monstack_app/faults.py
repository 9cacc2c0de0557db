"""Failures on purpose, for demonstrations: switched by a file on the machine, never by a request."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

_LIMIT = 4096
_LONGEST_DELAY_MS = 30_000
_log = logging.getLogger(__name__)


class Injected(Exception):
    """The failure that the fault file asks for."""


@dataclass(frozen=True)
class Fault:
    """How many of the requests fail, and how long each is held back."""

    error_ratio: float = 0.0
    delay_ms: float = 0.0


class FaultSwitch:
    """Obeys the file, and logs when its content changes."""

    def __init__(self, path: Optional[Path]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: Optional[bytes] = None
        self._fault: Optional[Fault] = None

    def apply(self) -> None:
        """Delays or fails the request as the file asks; does nothing without the file."""
        fault = self.current()
        if fault is None:
            return
        time.sleep(fault.delay_ms / 1000)
        if random.random() < fault.error_ratio:
            raise Injected("this failure was asked for by the fault file")

    def current(self) -> Optional[Fault]:
        """The fault in force."""
        if self._path is None:
            return None
        content = self._content()
        with self._lock:
            if content != self._seen:
                self._seen = content
                self._fault = self._understood(content)
            return self._fault

    def _content(self) -> Optional[bytes]:
        try:
            with self._path.open("rb") as file:
                return file.read(_LIMIT + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"cannot be read: {error.strerror}".encode()

    def _understood(self, content: Optional[bytes]) -> Optional[Fault]:
        if content is None:
            _log.info("the fault file is gone, requests are served as usual")
            return None
        try:
            fault = parse(content)
        except ValueError as error:
            _log.warning("the fault file is ignored: %s", error)
            return None
        _log.warning("the fault file is in force: %s", fault)
        return fault


def parse(content: bytes) -> Fault:
    """Reads `{"error_ratio": 0..1, "delay_ms": 0..30000}`; raises `ValueError`."""
    if len(content) > _LIMIT:
        raise ValueError(f"found more than {_LIMIT} bytes")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("found no JSON") from None
    if not isinstance(found, dict) or not found or set(found) - {"error_ratio", "delay_ms"}:
        raise ValueError("wanted an object with `error_ratio`, `delay_ms` or both")
    for name, highest in (("error_ratio", 1), ("delay_ms", _LONGEST_DELAY_MS)):
        value = found.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= highest:
            raise ValueError(f"wanted `{name}` to be a number from 0 to {highest}")
    return Fault(**found)
