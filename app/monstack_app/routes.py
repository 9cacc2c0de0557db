"""The pages."""

from __future__ import annotations

import logging
import platform
import socket
import time
from dataclasses import dataclass
from typing import Optional

from flask import Blueprint, Response, current_app, g, jsonify, request
from sqlalchemy import text

from . import metrics as metrics_module
from . import page, problems, visits
from .database import Database, DatabaseAway
from .faults import FaultSwitch
from .metrics import Metrics
from .settings import Settings

blueprint = Blueprint("pages", __name__)
_NAME = "monstack-app"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Services:
    """What the pages work with."""

    settings: Settings
    database: Database
    metrics: Metrics
    faults: FaultSwitch
    started: float

    def visits(self, work) -> int:
        """Runs one of the functions of `visits` and notes the count."""
        total = self.database.run(work)
        self.metrics.visits(total)
        return total


@blueprint.get("/")
def index() -> Response:
    """The page for people; it reads the counter and does not count."""
    total: Optional[int] = None
    try:
        total = _services().visits(visits.read)
    except DatabaseAway:
        _log.error("the visit counter is not available", exc_info=True)
    return page.answer(total, socket.gethostname(), _services().settings.version)


@blueprint.get("/view")
def view() -> Response:
    """Counts a visit, or only reads the count with `?read=true` and for HEAD."""
    given = request.args.getlist("read") or ["false"]
    if len(given) > 1 or given[0] not in ("true", "false"):
        return problems.answer(400, "`read` has a value that is not wanted", "wanted `read=true` or `read=false`")
    _services().faults.apply()
    only_read = given == ["true"] or request.method == "HEAD"
    return jsonify(visits=_services().visits(visits.read if only_read else visits.increment))


@blueprint.get("/health")
def health() -> tuple[Response, int]:
    """Whether the app can do its work."""
    try:
        _services().database.run(lambda connection: connection.execute(text("SELECT 1")))
    except DatabaseAway as error:
        g.failure = error
        return jsonify(status="unavailable", database="away"), 503
    return jsonify(status="ok", database="ok"), 200


@blueprint.get("/info")
def info() -> Response:
    """What runs here, without anything secret."""
    _services().faults.apply()
    return jsonify(
        name=_NAME,
        version=_services().settings.version,
        hostname=socket.gethostname(),
        python=platform.python_version(),
        uptime_seconds=round(time.monotonic() - _services().started, 3),
        database=_services().database.dialect(),
    )


@blueprint.get("/metrics")
def metrics() -> Response:
    """The series for Prometheus; the database is not asked, so that a scrape works without it."""
    return Response(_services().metrics.render(), content_type=metrics_module.CONTENT_TYPE)


def _services() -> Services:
    return current_app.extensions["monstack"]
