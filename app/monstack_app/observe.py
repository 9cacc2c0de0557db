"""What happens around each request: its id, its log line, its metrics, the safety headers."""

from __future__ import annotations

import logging
import re
import time
import uuid
from types import MappingProxyType

from flask import Flask, Response, g, request

from .logs import REQUEST
from .metrics import UNMATCHED, Metrics

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
#: A page may load nothing, unless its own answer says otherwise.
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PROBES = ("/health", "/metrics")
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger("monstack_app.request")


def install(app: Flask, metrics: Metrics) -> None:
    """Hooks into the life of every request."""
    app.before_request(_begin)
    app.teardown_request(_forget)

    @app.after_request
    def _end(response: Response) -> Response:
        seconds = time.perf_counter() - g.started
        endpoint = request.url_rule.rule if request.url_rule else UNMATCHED
        metrics.request((request.method, endpoint, response.status_code), seconds)
        response.headers["X-Request-ID"] = g.request_id
        for name, value in _HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        _write_line(endpoint, response.status_code, seconds)
        return response


def _begin() -> None:
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
    REQUEST.set(
        {
            "method": request.method,
            # Without the query string, where people put secrets.
            "path": request.path,
            "remote": request.remote_addr or "",
            "request_id": g.request_id,
        }
    )


def _write_line(endpoint: str, status: int, seconds: float) -> None:
    level = logging.INFO
    if status >= 500:
        level = logging.ERROR
    elif status >= 400:
        level = logging.WARNING
    elif endpoint in _PROBES:
        # Probes come every few seconds; the web server's access log has them.
        level = logging.DEBUG
    fields = {"status": status, "duration_ms": round(seconds * 1000, 3)}
    # An exception goes into the request's own line, so that a failed request is one line.
    _log.log(
        level,
        "%s %s answered %d",
        request.method,
        request.path,
        status,
        exc_info=g.get("failure"),
        extra={"fields": fields},
    )


def _forget(_error: object = None) -> None:
    REQUEST.set(MappingProxyType({}))
