"""What the Grafana stand-in keeps in `paths.data`: the admin's password and the annotations."""
from __future__ import annotations

import hashlib
import hmac
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from common import BadRequest, Refusal, Request, log, write_whole


class Admin:
    """The admin's login. As in Grafana, the password of the settings counts on the first start only."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.name = folder / "standin-admin.json", name

    def initial(self, password: str) -> None:
        if not password:
            raise Refusal("`security.admin_password` is empty")
        if not self.path.exists():
            self.change(password)
        elif not self.fits(password):
            log("`security.admin_password` differs from the stored one, which stays; change it by `grafana cli admin reset-admin-password`")

    def change(self, password: str) -> None:
        salt = os.urandom(16).hex()
        text = json.dumps({"salt": salt, "hash": hashlib.sha256((salt + password).encode()).hexdigest()})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, text)
            self.path.chmod(0o600)
        except OSError as error:
            raise Refusal(f"cannot write below `paths.data`: {error}") from error

    def fits(self, password: str) -> bool:
        kept = json.loads(self.path.read_text(encoding="utf-8"))
        given = hashlib.sha256((kept["salt"] + password).encode()).hexdigest()
        return hmac.compare_digest(given, kept["hash"])


class Annotations:
    """The marks on graphs, in memory and in one file."""

    def __init__(self, folder: Path) -> None:
        self.path, self.lock = folder / "standin-annotations.jsonl", threading.Lock()
        self.items: list[dict[str, Any]] = []
        if self.path.exists():
            *lines, torn = self.path.read_text(encoding="utf-8").split("\n")
            self.items = [json.loads(line) for line in lines]
            if torn:
                # The program was killed while it wrote the last one.
                write_whole(self.path, "".join(line + "\n" for line in lines))

    def add(self, given: dict[str, Any]) -> int:
        if not given.get("text"):
            raise BadRequest("Failed to save annotation: text field should not be empty")
        now = time.time_ns() // 1_000_000
        start = int(given.get("time") or now)
        with self.lock:
            item = {"id": max((one["id"] for one in self.items), default=0) + 1, "dashboardUID": given.get("dashboardUID") or "",
                    "panelId": given.get("panelId") or 0, "time": start, "timeEnd": int(given.get("timeEnd") or start),
                    "text": given["text"], "tags": given.get("tags") or [], "created": now, "updated": now}
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(item) + "\n")
            self.items.append(item)
        return item["id"]

    def find(self, request: Request) -> list[dict[str, Any]]:
        first, last = int(request.value("from") or 0), int(request.value("to") or 2**63)
        tags, board = set(request.values.get("tags", [])), request.value("dashboardUID")
        whole = request.value("matchAny") != "true"
        fits = [item for item in self.items if item["timeEnd"] >= first and item["time"] <= last
                and (not board or item["dashboardUID"] == board)
                and (not tags or (tags <= set(item["tags"]) if whole else tags & set(item["tags"])))]
        return sorted(fits, key=lambda item: -item["time"])[:int(request.value("limit") or 100)]

    def remove(self, number: int) -> None:
        with self.lock:
            kept = [item for item in self.items if item["id"] != number]
            if len(kept) == len(self.items):
                raise BadRequest("Could not find annotation to delete", 404)
            write_whole(self.path, "".join(json.dumps(item) + "\n" for item in kept))
            self.items = kept
