"""Settings: read from the environment once, and refused all together when they are wrong."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional
from collections.abc import Mapping

PREFIX = "MONSTACK_APP_"
NAMES = (
    "BIND",
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "DATA_DIR",
    "FAULT_FILE",
    "LOG",
    "RUN_DIR",
    "THREADS",
    "VERSION",
    "WORKERS",
)


class SettingsError(Exception):
    """Everything that is wrong with the settings, and never a secret value."""

    def __init__(self, problems: list[str]) -> None:
        hint = "hint: the table in `README.md` lists every setting"
        super().__init__("\n  ".join(["the settings of the app are wrong:", *problems]) + "\n\n" + hint)


@dataclass(frozen=True)
class Settings:
    """What the environment asks for, checked."""

    bind: str
    workers: int
    threads: int
    version: str
    data_dir: Path
    run_dir: Path
    log: Optional[Path]
    fault_file: Optional[Path]
    database_url: Optional[str] = field(repr=False)
    database_url_file: Optional[Path]

    @property
    def metrics_dir(self) -> Path:
        """Where the workers share their numbers; the files in it live as long as the server."""
        return self.run_dir / "metrics"


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Reads the settings; an empty variable counts as one that is not set."""
    problems = _unknown(environment)

    def read(name: str, parse: Callable, default: Optional[str] = None):
        text = environment.get(PREFIX + name) or default
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            problems.append(f"`{PREFIX}{name}`: {error}")
            return None

    if not environment.get(PREFIX + "DATA_DIR"):
        problems.append(f"`{PREFIX}DATA_DIR` is not set: wanted a folder for the app's own files")
    if environment.get(PREFIX + "DATABASE_URL") and environment.get(PREFIX + "DATABASE_URL_FILE"):
        problems.append(f"`{PREFIX}DATABASE_URL` and `{PREFIX}DATABASE_URL_FILE` are both set: wanted one")
    data_dir = read("DATA_DIR", _path, os.curdir)
    settings = Settings(
        bind=read("BIND", _address, "127.0.0.1:8000"),
        workers=read("WORKERS", _count, "2"),
        threads=read("THREADS", _count, "4"),
        version=read("VERSION", _version, "unknown"),
        data_dir=data_dir,
        run_dir=read("RUN_DIR", _path, str(data_dir / "run")),
        log=read("LOG", _path),
        fault_file=read("FAULT_FILE", _path),
        database_url=read("DATABASE_URL", str),
        database_url_file=read("DATABASE_URL_FILE", _path),
    )
    if problems:
        raise SettingsError(problems)
    return settings


def prepare(settings: Settings) -> None:
    """Makes the folders and tries the log file, so that a wrong path is told at the start."""
    problems = []
    folders = (("DATA_DIR", settings.data_dir), ("RUN_DIR", settings.run_dir), ("RUN_DIR", settings.metrics_dir))
    for name, folder in folders:
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(0, "this user may not write there")
        except OSError as error:
            problems.append(f"`{PREFIX}{name}`: cannot use folder `{folder}`: {error.strerror}")
    if settings.log is not None:
        try:
            os.close(os.open(settings.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640))
        except OSError as error:
            problems.append(f"`{PREFIX}LOG`: cannot write `{settings.log}`: {error.strerror}")
    if problems:
        raise SettingsError(problems)


def _unknown(environment: Mapping[str, str]) -> list[str]:
    known = [PREFIX + name for name in NAMES]
    problems = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            guess = f"; did you mean `{near[0]}`?" if near else ""
            problems.append(f"`{name}` is not a setting{guess}")
    return problems


def _path(text: str) -> Path:
    return Path(os.path.abspath(text))


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= 64:
        raise ValueError(f"found `{text}`, wanted a whole number from 1 to 64")
    return int(text)


def _address(text: str) -> str:
    match = re.fullmatch(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", text)
    if not match or not 1 <= int(match.group(1)) <= 65535:
        raise ValueError(f"found `{text}`, wanted an address and a port such as `127.0.0.1:8000`")
    return text


def _version(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._+-]{1,64}", text):
        raise ValueError(f"found `{text}`, wanted up to 64 letters, digits, `.`, `_`, `+` or `-`")
    return text
