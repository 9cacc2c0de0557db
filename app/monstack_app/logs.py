"""Logs: one JSON object a line, appended to a file that may be renamed at any time."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextvars import ContextVar
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Optional
from collections.abc import Mapping

#: What is known of the request that this thread is serving; it goes into every line.
REQUEST: ContextVar[Mapping[str, Any]] = ContextVar("request", default=MappingProxyType({}))

LEVELS = ("INFO", "WARNING", "ERROR")
_MESSAGE_LIMIT = 2048
_FIELD_LIMIT = 512
_EXCEPTION_LIMIT = 16384


def configuration(path: Optional[Path]) -> dict[str, Any]:
    """The `logging.config` dictionary that sends everything, gunicorn's lines too, to `path` or stdout."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"lines": {"()": LineHandler, "path": path, "formatter": "json"}},
        "root": {"level": "INFO", "handlers": ["lines"]},
        "loggers": {
            "gunicorn.error": {"handlers": [], "propagate": True},
            # The app writes a line for each request itself, and gunicorn's would hold the query string.
            "gunicorn.access": {"handlers": [], "propagate": False, "level": "CRITICAL"},
        },
    }


class JsonFormatter(logging.Formatter):
    """Writes a record as JSON in plain ASCII, so that no character can end the line or confuse a reader."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {
            "time": time.replace("+00:00", "Z"),
            "level": level_of(record),
            "logger": record.name,
            "message": _clean(record.getMessage())[:_MESSAGE_LIMIT],
        }
        for name, value in {**REQUEST.get(), **getattr(record, "fields", {})}.items():
            line[name] = _clean(value)[:_FIELD_LIMIT] if isinstance(value, str) else value
        if record.exc_info and record.exc_info[0] is not None:
            # The end of a trace says what went wrong, so the beginning is what a long one loses.
            line["exception"] = _clean(self.formatException(record.exc_info))[-_EXCEPTION_LIMIT:]
        return json.dumps(line)


class LineHandler(logging.Handler):
    """Appends each line by one write, and opens the file anew once it was renamed or removed.

    One write to a file opened for appending cannot be torn by another process, so several workers share a file.
    """

    def __init__(self, path: Optional[Path] = None) -> None:
        super().__init__()
        self._path = path
        self._file: Optional[int] = None
        self._identity: Optional[tuple[int, int]] = None
        self._torn = False
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write((self.format(record) + "\n").encode("ascii"))
            self._told = False
        except OSError as error:
            # The app goes on without its log; saying so once on stderr must do, for the disk may be full.
            if not self._told:
                self._told = True
                print(f"monstack-app: cannot write the log: {error.strerror}", file=sys.stderr)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self._drop()
        super().close()

    def _write(self, data: bytes) -> None:
        target = self._target()
        if self._torn:
            # A full disk cut the last line short; this one begins on its own line all the same.
            data = b"\n" + data
        while data:
            written = os.write(target, data)
            self._torn = written < len(data)
            data = data[written:]

    def _target(self) -> int:
        if self._path is None:
            return sys.__stdout__.fileno() if sys.__stdout__ else 1
        if self._file is None or self._renamed():
            try:
                opened = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            except OSError:
                # Better in the renamed file than nowhere.
                if self._file is None:
                    raise
                return self._file
            self._drop()
            status = os.fstat(opened)
            self._file, self._identity = opened, (status.st_dev, status.st_ino)
        return self._file

    def _renamed(self) -> bool:
        try:
            status = os.stat(self._path)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._identity

    def _drop(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class LevelCounter(logging.Handler):
    """Tells `count` the level of every line."""

    def __init__(self, count: Callable[[str], None]) -> None:
        super().__init__()
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        self._count(level_of(record))


def level_of(record: logging.LogRecord) -> str:
    """The record's level as one of `LEVELS`."""
    if record.levelno >= logging.ERROR:
        return "ERROR"
    return "WARNING" if record.levelno >= logging.WARNING else "INFO"


def _clean(text: str) -> str:
    # A lone surrogate is legal in a Python string and refused by strict JSON readers.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
