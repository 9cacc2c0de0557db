"""`loki.write`: sends entries to Loki, again and again until it takes them."""
from __future__ import annotations

import base64
import json
import ssl
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Callable
from urllib.parse import urlsplit

from alloy_entry import Entry
from alloy_schema import EXPERIMENTAL, Receiver, Section
from common import log
from logql_stages import size
from metrics import Metrics


class Write(Receiver):
    """Collects entries until `flush`."""

    def __init__(self, section: Section, metrics: Metrics, stability: str) -> None:
        for inner in [section, *section.sections]:
            for one in inner.sections:
                if one.name in EXPERIMENTAL and stability != "experimental":
                    one.place.refuse(f"`{one.name}` is experimental; start with `--stability.level=experimental` or leave it out")
        self.external = section.get("external_labels", {})
        self.endpoints = [Endpoint(one, metrics) for one in section.sections if one.name == "endpoint"]
        self.entries: list[Entry] = []

    def send(self, entry: Entry) -> None:
        entry.labels = {**{name: value for name, value in entry.labels.items() if not name.startswith("__")}, **self.external}
        self.entries.append(entry)

    def start(self) -> None:
        for endpoint in self.endpoints:
            endpoint.context = tls(endpoint.section.first("tls_config"))

    def flush(self, stopped: Callable[[], bool]) -> bool:
        """Delivers what there is; False where `stopped` came first, and then nothing counts as delivered."""
        entries, self.entries = self.entries, []
        return all(endpoint.deliver(batch, stopped) for endpoint in self.endpoints for batch in batches(entries, endpoint.batch_size))


def batches(entries: list[Entry], limit: float) -> list[list[Entry]]:
    found: list[list[Entry]] = []
    room = 0.0
    for entry in entries:
        if room <= 0:
            found.append([])
            room = limit
        found[-1].append(entry)
        room -= len(entry.line)
    return found


class Endpoint:
    """One Loki to send to."""

    def __init__(self, section: Section, metrics: Metrics) -> None:
        self.section, self.metrics = section, metrics
        self.url = section.values["url"]
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            section.place.refuse(f"`url` is `{self.url}`; wanted `http://HOST:PORT/loki/api/v1/push`")
        self.host = urlsplit(self.url).netloc.rsplit("@", 1)[-1]
        self.batch_size = size(section.get("batch_size", "1MiB"))
        self.retries = section.get("max_backoff_retries", 10)
        self.context: ssl.SSLContext | None = None
        self.pause = threading.Event()
        for name in ("sent", "dropped"):
            for what in ("entries", "bytes"):
                self.count(f"loki_write_{name}_{what}_total", 0)

    def count(self, name: str, amount: float) -> None:
        texts = {"loki_write_sent_entries_total": "Number of log entries sent to the ingester.",
                 "loki_write_sent_bytes_total": "Number of bytes sent.",
                 "loki_write_dropped_entries_total": "Number of log entries dropped because failed to be sent to the ingester after all retries.",
                 "loki_write_dropped_bytes_total": "Number of bytes dropped because failed to be sent to the ingester after all retries.",
                 "loki_write_batch_retries_total": "Number of times batches has had to be retried."}
        self.metrics.add(name, texts[name], {"host": self.host}, amount)

    def headers(self) -> dict[str, str]:
        found = {"Content-Type": "application/json", **{name: str(value) for name, value in self.section.get("headers", {}).items()}}
        if self.section.get("tenant_id"):
            found["X-Scope-OrgID"] = self.section.get("tenant_id")
        basic = self.section.first("basic_auth")
        if basic:
            word = basic.get("password") or Path(basic.get("password_file", "/dev/null")).read_text(encoding="utf-8").strip()
            found["Authorization"] = "Basic " + base64.b64encode(f"{basic.get('username', '')}:{word}".encode()).decode()
        token = self.section.get("bearer_token")
        if token or self.section.get("bearer_token_file"):
            found["Authorization"] = "Bearer " + (token or Path(self.section.get("bearer_token_file")).read_text(encoding="utf-8").strip())
        return found

    def deliver(self, entries: list[Entry], stopped: Callable[[], bool]) -> bool:
        body = payload(entries)
        wait, longest = self.section.seconds("min_backoff_period", 0.5), self.section.seconds("max_backoff_period", 300.0)
        tries = 0
        while not stopped():
            fault, final = self.attempt(body)
            tries += 1
            if not fault:
                self.count("loki_write_sent_entries_total", len(entries))
                self.count("loki_write_sent_bytes_total", len(body))
                return True
            if final or 0 < self.retries <= tries:
                log(f"{self.host}: {len(entries)} lines dropped: {fault}")
                self.count("loki_write_dropped_entries_total", len(entries))
                self.count("loki_write_dropped_bytes_total", len(body))
                return True
            log(f"{self.host}: {fault}; trying again")
            self.count("loki_write_batch_retries_total", 1)
            self.sleep(wait, stopped)
            wait = min(wait * 2, longest)
        return False

    def sleep(self, seconds: float, stopped: Callable[[], bool]) -> None:
        while seconds > 0 and not stopped():
            self.pause.wait(min(seconds, 0.25))
            seconds -= 0.25

    def attempt(self, body: bytes) -> tuple[str, bool]:
        """One push: what went wrong, and whether trying again is of no use."""
        try:
            request = urllib.request.Request(self.url, data=body, headers=self.headers())
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context))
            with opener.open(request, timeout=self.section.seconds("remote_timeout", 10.0)):
                return "", False
        except urllib.error.HTTPError as error:
            busy = error.code == 429 and self.section.get("retry_on_http_429", True)
            return f"status {error.code}: {error.read(300).decode('utf-8', 'replace').strip()}", error.code // 100 == 4 and not busy
        except (OSError, ValueError) as error:
            return f"{error}", False


def tls(section: Section | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if section is None:
        return context
    try:
        if section.get("ca_file") or section.get("ca_pem"):
            context = ssl.create_default_context(cafile=section.get("ca_file"), cadata=section.get("ca_pem"))
        if section.get("cert_file"):
            context.load_cert_chain(section.get("cert_file"), section.get("key_file"))
    except (OSError, ssl.SSLError) as error:
        section.place.refuse(f"`tls_config`: {error}")
    if section.get("insecure_skip_verify", False):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def payload(entries: list[Entry]) -> bytes:
    """The JSON of a push."""
    streams: dict[tuple, list] = {}
    for entry in entries:
        value = [str(entry.time), entry.line, entry.metadata] if entry.metadata else [str(entry.time), entry.line]
        streams.setdefault(tuple(sorted(entry.labels.items())), []).append(value)
    return json.dumps({"streams": [{"stream": dict(labels), "values": values} for labels, values in streams.items()]}).encode()
