"""What the tests of the stand-ins share: programs that are started, asked and ended by their process id."""
from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Callable

HERE = Path(__file__).resolve().parent
NANO = 1_000_000_000
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def real(name: str) -> str | None:
    """The path of a real program in `MONSTACK_TEST_BIN`."""
    path = Path(os.environ.get("MONSTACK_TEST_BIN", "/nonexistent"), name)
    return str(path) if os.access(path, os.X_OK) else None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Reply:
    """A status and a body."""

    def __init__(self, status: int, body: bytes, headers: Any) -> None:
        self.status, self.body, self.headers = status, body, headers
        self.text = body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, body: Any = None, headers: dict[str, str] | None = None, method: str | None = None) -> Reply:
    """One request; a body that is no text is sent as JSON."""
    data = body if body is None or isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    sent = {**({"Content-Type": "application/json"} if data is not None else {}), **(headers or {})}
    request = urllib.request.Request(url, data=data, headers=sent, method=method)
    try:
        with OPENER.open(request, timeout=20) as answer:
            return Reply(answer.status, answer.read(), answer.headers)
    except urllib.error.HTTPError as error:
        return Reply(error.code, error.read(), error.headers)


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


class Case(unittest.TestCase):
    """A test with a folder of its own, whose programs are ended with it."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="standin-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *words: Any, **variables: str) -> subprocess.Popen:
        """Starts a program; what it writes to standard error goes to `log` in the test's folder."""
        with open(self.folder / "log", "ab") as log:
            child = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     cwd=self.folder, env={**os.environ, "MONSTACK_STANDIN_MAX_SECONDS": "60", **variables})
        self.addCleanup(end, child)
        return child

    def until(self, probe: Callable[[], Any], what: str, seconds: float = 20) -> Any:
        """Waits for `probe` to give something true."""
        limit = time.monotonic() + seconds
        while True:
            try:
                found = probe()
            except OSError:
                found = None
            if found:
                return found
            if time.monotonic() > limit:
                log = self.folder / "log"
                self.fail(f"{what} did not come; log:\n{log.read_text(errors='replace') if log.exists() else ''}")
            time.sleep(0.05)

    def refused(self, *words: Any) -> str:
        """Runs a program that must end with code 1; gives its one line of complaint."""
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=30, cwd=self.folder)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertTrue(done.stderr.splitlines()[-1].startswith("error: "), done.stderr)
        return done.stderr

    def start_loki(self, program: Any = HERE / "loki", extra: str = "", **variables: str) -> str:
        """Starts Loki with the smallest configuration that the real one takes too; gives its address."""
        port = free_port()
        config = self.write("loki.yml", loki_config(port, self.folder / "loki-data") + extra)
        self.loki = self.start(program, f"-config.file={config}", **variables)
        self.until(lambda: ask(f"http://127.0.0.1:{port}/ready").status == 200, "Loki's readiness", 45)
        return f"http://127.0.0.1:{port}"


def end(child: subprocess.Popen) -> None:
    child.terminate()
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def loki_config(port: int, data: Path) -> str:
    return f"""\
auth_enabled: false
server:
  http_listen_address: 127.0.0.1
  http_listen_port: {port}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: 0
common:
  path_prefix: {data}
  replication_factor: 1
  instance_addr: 127.0.0.1
  ring:
    kvstore:
      store: inmemory
  storage:
    filesystem:
      chunks_directory: {data}/chunks
      rules_directory: {data}/rules
schema_config:
  configs:
    - from: "2024-01-01"
      store: tsdb
      object_store: filesystem
      schema: v13
      index: {{prefix: index_, period: 24h}}
analytics:
  reporting_enabled: false
"""


class Loki:
    """Asks a Loki, the real one or the stand-in."""

    def __init__(self, address: str) -> None:
        self.address = address

    def push(self, labels: dict[str, str], *values: tuple) -> Reply:
        return ask(f"{self.address}/loki/api/v1/push", {"streams": [{"stream": labels, "values": [list(value) for value in values]}]})

    def push_packed(self, body: Any) -> Reply:
        return ask(f"{self.address}/loki/api/v1/push", gzip.compress(json.dumps(body).encode()), {"Content-Encoding": "gzip"})

    def get(self, path: str, **values: Any) -> Reply:
        return ask(f"{self.address}/loki/api/v1/{path}?{urllib.parse.urlencode(values, doseq=True)}")

    def lines(self, query: str, **values: Any) -> list[str]:
        """The lines of a log query, oldest first."""
        found = self.get("query_range", query=query, **{"limit": 1000, **values}).json["data"]["result"]
        return [line for _, line in sorted((value[0], value[1]) for stream in found for value in stream["values"])]

    def vector(self, query: str, **values: Any) -> dict[tuple, float]:
        """The value of a metric query at one moment, by its labels."""
        data = self.get("query", query=query, **values).json["data"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in data["result"]}
