"""What the tests share: the app on the import path, settings in a scratch folder, and a real server."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

APP = Path(__file__).resolve().parents[2] / "app"
sys.path.insert(0, str(APP))

from monstack_app import logs, settings  # noqa: E402

WAIT_SECONDS = 30


class Scratch(unittest.TestCase):
    """A test with its own folder, and with the root logger as it was before."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="monstack-app-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level
        self.addCleanup(root.setLevel, level)
        self.addCleanup(setattr, root, "handlers", handlers)

    def settings(self, **values: str) -> settings.Settings:
        """Settings as the environment would give them."""
        environment = {"MONSTACK_APP_DATA_DIR": str(self.folder)}
        environment.update({f"MONSTACK_APP_{name}": str(value) for name, value in values.items()})
        return settings.from_environment(environment)

    def log_to(self, path: Path) -> None:
        """Sends the log of this process to a file, as gunicorn's configuration does."""
        handler = logs.LineHandler(path)
        handler.setFormatter(logs.JsonFormatter())
        root = logging.getLogger()
        root.handlers = [handler]
        root.setLevel(logging.INFO)
        self.addCleanup(handler.close)


class Server:
    """The real gunicorn on a free loopback port."""

    def __init__(self, folder: Path, **values: str) -> None:
        self.folder = folder
        self.log = folder / "app.log"
        self.port = free_port()
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MONSTACK_APP_", "PROMETHEUS_", "GUNICORN_"))
        }
        chosen = {"BIND": f"127.0.0.1:{self.port}", "DATA_DIR": folder / "data", "LOG": self.log, **values}
        self.environment.update({f"MONSTACK_APP_{name}": str(value) for name, value in chosen.items()})
        self.errors = (folder / "stderr").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", str(APP / "gunicorn.conf.py")],
            env=self.environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self.errors,
            stderr=self.errors,
        )

    def ready(self) -> Server:
        """Waits until the server answers."""
        wait_until(lambda: self.process.poll() is not None or self.answers(), "the server answers")
        if self.process.poll() is not None:
            raise AssertionError(f"gunicorn ended with {self.process.returncode}: {self.said()}")
        return self

    def answers(self) -> bool:
        """Whether anything answers at the port."""
        try:
            self.get("/info")
            return True
        except OSError:
            return False

    def get(self, path: str, **headers: str) -> tuple[int, bytes, dict]:
        """Status, body and headers of one answer."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=names)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=WAIT_SECONDS) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), dict(error.headers)

    def lines(self) -> list[dict]:
        """The log, each line read as JSON."""
        return read_lines(self.log)

    def workers(self) -> list[int]:
        """The process ids of the workers, from the system itself."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = entry.read_text().rsplit(")", 1)[1].split()
                if int(fields[1]) == self.process.pid:
                    found.append(int(entry.parent.name))
        return found

    def said(self) -> str:
        """What came out of stdout and stderr."""
        return (self.folder / "stderr").read_text()

    def stop(self) -> int:
        """Ends the server and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.errors.close()


def read_lines(path: Path) -> list[dict]:
    """A log file, each line read as JSON."""
    text = path.read_text("ascii")
    assert not text or text.endswith("\n"), "the last line is whole"
    return [json.loads(line) for line in text.split("\n")[:-1]]


def series(metrics: bytes, name: str, **labels: str) -> float:
    """The sum of the series of that name with these labels; fails when there is none."""
    values = []
    for line in metrics.decode().splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if match and match.group(1) == name:
            found = dict(re.findall(r'(\w+)="([^"]*)"', match.group(2) or ""))
            if all(found.get(label) == value for label, value in labels.items()):
                values.append(float(match.group(3)))
    if not values:
        raise AssertionError(f"no series {name} with {labels}")
    return sum(values)


def dispose(database) -> None:
    """Closes the connections of a database that lived in this process."""
    if database._engine is not None:
        database._engine.dispose()


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what: str):
    """Waits for a condition and returns what it gave."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {WAIT_SECONDS} s in vain until {what}")
