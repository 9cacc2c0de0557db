"""The Loki stand-in: what it answers over HTTP."""
from __future__ import annotations

import decimal
import math
import os
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import logql
import logql_engine
from common import VERSION, Answer, BadRequest, Refusal, Request, Route, Server, as_json, duration, hold, live, log, plain
from logql_tree import Aggregate, Expression, Log
from loki_config import USAGE, configuration, flags
from loki_store import NANO, Store, limits
from metrics import Metrics


def program(words: list[str]) -> None:
    """Starts the stand-in."""
    given = flags(words)
    if "version" in given:
        print(f"loki, version {VERSION}")
        return
    if "config.file" not in given:
        raise Refusal(f"no configuration; usage: {USAGE}")
    settings, text = configuration(given)
    if "verify-config" in given:
        log("config is valid")
        return
    service = Loki(settings, text)
    server = settings["server"]
    address = (server.get("http_listen_address") or "0.0.0.0", server.get("http_listen_port", 3100))
    Server(address, service.routes(), service.seen).start()
    hold((server.get("grpc_listen_address") or "0.0.0.0", server.get("grpc_listen_port", 9095)))
    log(f"the Loki stand-in listens on {address[0]}:{address[1]}")
    live(lambda: None)


class Loki:
    """Answers the HTTP interface."""

    def __init__(self, settings: dict[str, Any], text: str) -> None:
        self.settings, self.text = settings, text
        self.metrics = Metrics("loki")
        self.store = Store(Path(settings["common"]["path_prefix"]) / "standin", limits(settings.get("limits_config") or {}))
        self.tenants = settings.get("auth_enabled", True)
        self.ready_at = time.monotonic() + float(os.environ.get("MONSTACK_STANDIN_READY_SECONDS", "0"))

    def seen(self, method: str, route: str, status: int, seconds: float) -> None:
        labels = {"method": method, "route": route, "status_code": str(status), "ws": "false"}
        self.metrics.observe("loki_request_duration_seconds", "Time spent serving HTTP requests.", labels, seconds)

    def routes(self) -> list[Route]:
        prefix = "/loki/api/v1"
        return [
            Route("GET HEAD", "/ready", "ready", self.ready),
            Route("GET", "/metrics", "metrics", self.report),
            Route("GET", "/config", "config", lambda _: plain(self.text)),
            Route("POST", f"{prefix}/push", "loki_api_v1_push", self.push),
            Route("GET POST", f"{prefix}/query_range", "loki_api_v1_query_range", self.query_range),
            Route("GET POST", f"{prefix}/query", "loki_api_v1_query", self.query),
            Route("GET POST", f"{prefix}/labels?", "loki_api_v1_labels", self.labels),
            Route("GET POST", f"{prefix}/label/([^/]+)/values", "loki_api_v1_label_name_values", self.label_values),
            Route("GET POST", f"{prefix}/series", "loki_api_v1_series", self.series),
            Route("GET", f"{prefix}/status/buildinfo", "loki_api_v1_status_buildinfo",
                  lambda _: as_json({"version": VERSION, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""})),
        ]

    def tenant(self, request: Request) -> str:
        tenant = request.headers.get("X-Scope-OrgID") if self.tenants else "fake"
        if not tenant:
            raise BadRequest("no org id", 401)
        return tenant

    def ready(self, _request: Request) -> Answer:
        if time.monotonic() < self.ready_at:
            return plain("Ingester not ready: the stand-in was told to wait\n", 503)
        return plain("ready\n")

    def report(self, _request: Request) -> Answer:
        for tenant, streams in list(self.store.tenants.items()):
            self.metrics.set("loki_ingester_memory_streams", "The total number of streams in memory per tenant.",
                             {"tenant": tenant}, len(streams))
        return self.metrics.answer()

    def push(self, request: Request) -> Answer:
        if not request.headers.get("Content-Type", "").startswith("application/json"):
            raise BadRequest("the stand-in takes `Content-Type: application/json` only, no protobuf")
        tenant = self.tenant(request)
        try:
            lines, size = self.store.push(tenant, request.body)
        except BadRequest:
            self.metrics.add("loki_discarded_samples_total", "The total number of samples that were discarded.",
                             {"reason": "refused", "tenant": tenant})
            raise
        self.metrics.add("loki_distributor_lines_received_total", "The total number of lines received per tenant", {"tenant": tenant}, lines)
        self.metrics.add("loki_distributor_bytes_received_total", "The total number of uncompressed bytes received per tenant",
                         {"tenant": tenant}, size)
        return Answer(204, b"")

    def source(self, request: Request) -> Any:
        tenant = self.tenant(request)
        return lambda matchers, start, end: self.store.rows(tenant, matchers, start, end)

    def query_range(self, request: Request) -> Answer:
        expression = logql.parse(request.value("query"))
        start, end = self.span(request)
        if isinstance(expression, Log):
            found = logql_engine.streams(expression, self.source(request), (start, end), self.order(request))
            return answered("streams", found)
        step = self.step(request, end - start)
        # Loki's front end moves both ends of the range to multiples of the step.
        first, last = start // step * step, -(-end // step) * step
        times = list(range(first, last + 1, step))
        if len(times) > 11001:
            raise BadRequest("exceeded maximum resolution of 11,000 points per time series")
        values = logql_engine.evaluate(expression, self.source(request), times)
        return answered("matrix", matrix(times, values))

    def query(self, request: Request) -> Answer:
        expression = logql.parse(request.value("query"))
        if isinstance(expression, Log):
            raise BadRequest("log queries are not supported as an instant query type, please change your query to a range query type")
        moment = instant(request, "time", time.time_ns())
        value = logql_engine.evaluate(expression, self.source(request), [moment])[0]
        if not isinstance(value, dict):
            return answered("scalar", [seconds(moment), number(value)])
        return answered("vector", [{"metric": dict(labels), "value": [seconds(moment), number(one)]} for labels, one in ordered(expression, value)])

    def span(self, request: Request) -> tuple[int, int]:
        end = instant(request, "end", time.time_ns())
        since = request.value("since")
        start = instant(request, "start", end - int((timed(since) if since else 3600) * NANO))
        if end <= start:
            raise BadRequest("end timestamp must not be before or equal to start time")
        return start, end

    def order(self, request: Request) -> tuple[str, int]:
        direction, limit = request.value("direction", "backward").lower(), request.value("limit", "100")
        if direction not in ("forward", "backward"):
            raise BadRequest(f"invalid direction '{direction}'")
        if not limit.isdigit() or int(limit) == 0:
            raise BadRequest("limit must be a positive value")
        most = self.store.limits.max_entries_limit_per_query
        if int(limit) > most:
            raise BadRequest(f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {most})")
        return direction, int(limit)

    def step(self, request: Request, width: int) -> int:
        given = request.value("step")
        step = timed(given) if given else max(width // NANO // 250, 1)
        if step <= 0:
            raise BadRequest("zero or negative query resolution step widths are not accepted. Try a positive integer")
        return int(step * NANO)

    def labels(self, request: Request) -> Answer:
        names = {name for stream in self.chosen(request) for name in stream.labels}
        return as_json({"status": "success", "data": sorted(names)} if names else {"status": "success"})

    def label_values(self, request: Request) -> Answer:
        values = {stream.labels[request.parts[0]] for stream in self.chosen(request) if request.parts[0] in stream.labels}
        return as_json({"status": "success", "data": sorted(values)} if values else {"status": "success"})

    def series(self, request: Request) -> Answer:
        return as_json({"status": "success", "data": [stream.labels for stream in self.chosen(request)]})

    def chosen(self, request: Request) -> list[Any]:
        """The streams that `match[]` or `query` names; all without one."""
        found: dict[int, Any] = {}
        selectors = request.values.get("match[]", []) + request.values.get("match", []) + request.values.get("query", [])
        for matchers in [logql.parse(text).matchers for text in selectors] or [[]]:
            for stream in self.store.streams(self.tenant(request), matchers):
                found[id(stream)] = stream
        return list(found.values())


def answered(kind: str, result: Any) -> Answer:
    return as_json({"status": "success", "data": {"resultType": kind, "result": result, "stats": {}}})


def ordered(expression: Expression, vector: dict) -> list[tuple]:
    """Series in the order of their labels, unless a function put them in another one."""
    keeps = isinstance(expression, Aggregate) and expression.function in ("sort", "sort_desc", "topk", "bottomk")
    return list(vector.items()) if keeps else sorted(vector.items())


def matrix(times: list[int], values: list[Any]) -> list[dict[str, Any]]:
    series: dict[tuple, list] = {}
    for moment, vector in zip(times, values):
        for labels, value in (vector if isinstance(vector, dict) else {(): vector}).items():
            series.setdefault(labels, []).append([seconds(moment), number(value)])
    return [{"metric": dict(labels), "values": found} for labels, found in sorted(series.items())]


def seconds(moment: int) -> float | int:
    return moment // NANO if moment % NANO == 0 else moment // 1_000_000 / 1000


def number(value: float) -> str:
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    text = format(decimal.Decimal(repr(value)), "f")
    return text[:-2] if text.endswith(".0") else text


def timed(text: str) -> float:
    """A number of seconds, or a duration."""
    try:
        return float(text) if re.fullmatch(r"-?[0-9.]+", text) else duration(text)
    except ValueError as error:
        raise BadRequest(str(error)) from error


def instant(request: Request, name: str, default: int) -> int:
    """A moment in nanoseconds: given so, or in seconds, or as RFC 3339."""
    text = request.value(name)
    if not text:
        return default
    if re.fullmatch(r"[0-9]+", text):
        return int(text) if len(text) > 10 else int(text) * NANO
    if re.fullmatch(r"[0-9]+\.[0-9]+", text):
        return int(decimal.Decimal(text) * NANO)
    found = re.fullmatch(r"([0-9T:-]{19})(?:\.([0-9]{1,9}))?(Z|[-+][0-9]{2}:[0-9]{2})", text)
    try:
        base = datetime.fromisoformat(found.group(1) + found.group(3).replace("Z", "+00:00")) if found else None
    except ValueError:
        base = None
    if base is None:
        raise BadRequest(f"could not parse '{name}' parameter: `{text}` is no time")
    return int(base.timestamp()) * NANO + int((found.group(2) or "").ljust(9, "0"))
