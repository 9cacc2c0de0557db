"""A gate before the database: while it is away, one caller at a time tries it and the others are turned back.

Without it every thread would wait for the same timeout, and `/metrics` and `/info` would hang with the database.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import Callable, Optional
from collections.abc import Iterator

PAUSE_SECONDS = 1.0


class GateClosed(Exception):
    """The database failed a moment ago, or another caller is trying it right now."""


class Gate:
    """Open as long as no passage failed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed_at: Optional[float] = None
        self._probe = threading.Lock()

    @contextmanager
    def passage(self) -> Iterator[None]:
        """Wraps one attempt; its failure closes the gate, its success opens it."""
        probing = self._enter()
        try:
            yield
        except Exception:
            self._failed_at = self._clock()
            raise
        else:
            self._failed_at = None
        finally:
            if probing:
                self._probe.release()

    def _enter(self) -> bool:
        failed_at = self._failed_at
        if failed_at is None:
            return False
        if self._clock() - failed_at < PAUSE_SECONDS or not self._probe.acquire(blocking=False):
            raise GateClosed("not tried, because the last attempt failed a moment ago")
        return True
