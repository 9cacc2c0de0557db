"""The command line of the Grafana stand-in, its `grafana.ini`, and the values that refer to files and variables."""
from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from common import Refusal

USAGE = "grafana server --homepath DIR --config FILE [cfg:section.key=value] | grafana --version"


class Arguments(NamedTuple):
    """What the command line says."""

    flags: dict[str, str]
    overrides: dict[str, str]
    words: list[str]


def arguments(words: list[str]) -> Arguments:
    flags: dict[str, str] = {}
    overrides: dict[str, str] = {}
    others = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("cfg:"):
            key, _, text = word[4:].partition("=")
            overrides[key.removeprefix("default.")] = text
        elif not word.startswith("-"):
            others.append(word)
        elif name in ("homepath", "config", "packaging", "pidfile", "configOverrides"):
            flags[name] = value if equals else rest.pop(0) if rest else ""
        elif name == "password-from-stdin":
            flags[name] = "true"
        else:
            raise Refusal(f"unknown flag `{word}`; usage: {USAGE}")
    if not flags.get("config"):
        raise Refusal(f"no configuration; usage: {USAGE}")
    if not Path(flags.get("homepath", "")).is_dir() or not flags.get("homepath"):
        raise Refusal(f"`--homepath {flags.get('homepath', '')}` is not a directory; wanted Grafana's own folder")
    return Arguments(flags, overrides, others)


def read_ini(path: str) -> dict[str, str]:
    """The settings as `section.key`; what stands before the first section has no dot."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"cannot read `{path}`: {error}") from error
    found: dict[str, str] = {}
    section = ""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        header = re.fullmatch(r"\[([^\]]+)\]\s*(?:[;#].*)?", text)
        if header:
            section = header.group(1).strip()
        elif text and text[0] not in ";#":
            key, equals, value = text.partition("=")
            if not equals or not key.strip():
                raise Refusal(f"`{path}`:{number}: found `{text[:20]}`, wanted `key = value`")
            found[f"{section}.{key.strip()}" if section else key.strip()] = ini_value(value.strip(), f"`{path}`:{number}")
    return found


def ini_value(text: str, place: str) -> str:
    """A value as Grafana reads it: three quotes or backquotes keep all of it, else it ends at the first `;` or `#`."""
    for quote in ('"' * 3, "`"):
        if text.startswith(quote) and len(text) > len(quote):
            end = text.rfind(quote, len(quote))
            if end < 0:
                raise Refusal(f"{place}: a quoted value has no end in its line")
            return text[len(quote):end]
    if text.endswith("\\"):
        raise Refusal(f"{place}: a value that ends in `\\` goes on in the next line; put it in three quotes")
    text = re.split(r"[;#]", text)[0].rstrip()
    found = re.fullmatch(r"\"([^\"]*)\"|'([^']*)'", text)
    return text if found is None else found.group(1) or found.group(2) or ""


class Settings:
    """The settings, with defaults, overrides, and references put in."""

    DEFAULTS = {"server.protocol": "http", "server.http_addr": "", "server.http_port": "3000", "security.admin_user": "admin",
                "security.admin_password": "admin", "paths.data": "data", "paths.provisioning": "conf/provisioning"}

    def __init__(self, given: Arguments) -> None:
        self.home = Path(given.flags["homepath"])
        self.values = {**self.DEFAULTS, **read_ini(given.flags["config"])}
        for key in list(self.values):
            variable = "GF_" + re.sub(r"[.-]", "_", key).upper()
            self.values[key] = os.environ.get(variable, self.values[key])
        self.values.update(given.overrides)

    def get(self, key: str) -> str:
        return expanded(self.values.get(key, ""), f"`{key}`")

    def path(self, key: str) -> Path:
        return self.home / self.get(key)

    def port(self) -> int:
        text = self.get("server.http_port")
        if not text.isdigit() or int(text) > 65535:
            raise Refusal(f"`server.http_port` is `{text}`; wanted a port")
        return int(text)


def expanded(text: str, place: str) -> str:
    """Puts in `$__file{path}`, `$__env{NAME}` and `${NAME}`."""
    def one(match: re.Match) -> str:
        if match.group(1) != "__file":
            return os.environ.get(match.group(2), "")
        try:
            return Path(match.group(2)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(f"{place}: cannot read `{match.group(2)}`: {error}") from error
    return re.sub(r"\$(|__file|__env)\{([^}]*)\}", one, text)


def interpolated(value: Any, place: str) -> Any:
    """The values of a provisioning file: as `expanded`, also `$NAME`, and `$$` for a dollar sign.

    Grafana leaves the model of a query alone, and in annotations it fills in braced names only.
    """
    if isinstance(value, dict):
        special = {"model": lambda inner, _: inner, "annotations": braced}
        return {key: special.get(key, interpolated)(inner, place) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner, place) for inner in value]
    if not isinstance(value, str):
        return value
    return "$".join(re.sub(r"\$([A-Za-z_]\w*)", lambda match: os.environ.get(match.group(1), ""), expanded(part, place))
                    for part in value.split("$$"))


def braced(value: Any, place: str) -> Any:
    return {key: "$".join(expanded(part, place) for part in str(text).split("$$")) for key, text in (value or {}).items()}
