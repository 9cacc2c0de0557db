"""Puts the app together."""

from __future__ import annotations

import logging
import time

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from . import credentials, observe, problems, visits
from .database import Database, DatabaseAway
from .faults import FaultSwitch
from .logs import LevelCounter
from .metrics import Metrics
from .routes import Services, blueprint
from .settings import Settings

_log = logging.getLogger(__name__)


def create_app(settings: Settings) -> Flask:
    """Makes the WSGI app; it starts without its database too, and says so in the log."""
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False
    metrics = Metrics(settings.version)
    logging.getLogger().addHandler(LevelCounter(metrics.logged))
    services = Services(
        settings=settings,
        database=Database(credentials.provider(settings), visits.prepare, metrics.database_errors.inc),
        metrics=metrics,
        faults=FaultSwitch(settings.fault_file),
        started=time.monotonic(),
    )
    app.extensions["monstack"] = services
    app.register_blueprint(blueprint)
    observe.install(app, metrics)
    problems.install(app)
    # nginx stands in front, so the last address in the header is its word and all before it is hearsay.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=0, x_port=0, x_prefix=0)
    _look_at_the_database(services)
    return app


def _look_at_the_database(services: Services) -> None:
    try:
        services.visits(visits.read)
    except DatabaseAway:
        _log.error("the database is not available at the start; each request tries again", exc_info=True)
