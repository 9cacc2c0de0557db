"""The database: one engine, rebuilt with credentials read anew when the old ones are refused."""

from __future__ import annotations

import logging
import os
import threading
from typing import Callable, Optional, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DisconnectionError, OperationalError, SQLAlchemyError

from .credentials import CredentialsError, Provider
from .gate import Gate, GateClosed

T = TypeVar("T")

#: MySQL's ways to refuse a login: no such right (1044), wrong password (1045), no password (1698),
#: password ran out (1862), account locked (3118), login kept out by a plugin (3955).
_REFUSALS = (1044, 1045, 1698, 1862, 3118, 3955)
_MYSQL_TIMEOUTS = {"connect_timeout": 3, "read_timeout": 5, "write_timeout": 5}
_SQLITE_BUSY_SECONDS = 5
_log = logging.getLogger(__name__)


class DatabaseAway(Exception):
    """The database did not do what was asked; the cause is for the log only."""


class Database:
    """Runs work in transactions. `prepare` makes the tables, `failed` counts what went wrong."""

    def __init__(self, provider: Provider, prepare: Callable[[Connection], None], failed: Callable[[], None]) -> None:
        self._provider = provider
        self._prepare = prepare
        self._failed = failed
        self._gate = Gate()
        self._lock = threading.Lock()
        self._engine: Optional[Engine] = None
        self._prepared: Optional[Engine] = None

    def run(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one transaction; raises `DatabaseAway`."""
        try:
            with self._connect() as connection:
                if self._prepared is not connection.engine:
                    self._prepare(connection)
                    self._prepared = connection.engine
                with connection.begin():
                    return work(connection)
        except SQLAlchemyError as error:
            # The table may have been dropped, so that the next caller has to look again.
            self._prepared = None
            self._failed()
            raise DatabaseAway("the database refused a statement") from error

    def dialect(self) -> str:
        """The kind of database, such as `mysql`."""
        try:
            return self._current().dialect.name
        except CredentialsError:
            return "unknown"

    def _connect(self) -> Connection:
        try:
            with self._gate.passage():
                engine = self._current()
                try:
                    return engine.connect()
                except OperationalError as error:
                    renewed = self._renewed(engine) if refused(error) else None
                    if renewed is None:
                        raise
                return renewed.connect()
        except GateClosed as closed:
            raise DatabaseAway(str(closed)) from None
        except Exception as error:
            # Drivers fail to connect in their own ways too, such as RuntimeError for a login they do not speak.
            self._failed()
            raise DatabaseAway("the database cannot be reached") from error

    def _current(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = build(self._provider.read())
            return self._engine

    def _renewed(self, refused_engine: Engine) -> Optional[Engine]:
        with self._lock:
            if self._engine is not refused_engine:
                return self._engine
            url = self._provider.read()
            if url == refused_engine.url:
                # The same credentials would be refused once more, and servers lock accounts for that.
                return None
            _log.warning("the database refused its credentials; they were read again from %s", self._provider.name)
            refused_engine.dispose()
            self._engine = build(url)
            return self._engine


def refused(error: OperationalError) -> bool:
    """Whether a failure to connect may be cured by other credentials."""
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    # Drivers other than MySQL's give no number. Reading the URL again is cheap and harmless then.
    return code in _REFUSALS if isinstance(code, int) else True


def build(url: URL) -> Engine:
    """Makes the engine for a URL without connecting."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _SQLITE_BUSY_SECONDS})
        _follow_file(engine, url.database)
        return engine
    limits = {}
    if url.get_backend_name() in ("mysql", "mariadb"):
        limits = {name: value for name, value in _MYSQL_TIMEOUTS.items() if name not in url.query}
    return create_engine(
        url, hide_parameters=True, connect_args=limits, pool_pre_ping=True, pool_recycle=900, pool_timeout=5
    )


def _follow_file(engine: Engine, path: str) -> None:
    """Shares a SQLite file between workers, and notices when it was moved away from under its connections."""

    @event.listens_for(engine, "connect")
    def _connected(connection, record) -> None:
        _share(connection)
        record.info["file"] = _identity(path)

    @event.listens_for(engine, "checkout")
    def _checked_out(_connection, record, _proxy) -> None:
        if record.info["file"] != _identity(path):
            # Without this the connection would go on counting in a file that nobody finds any more.
            raise DisconnectionError("the database file is another one")


def _share(connection) -> None:
    """Lets readers and one writer work at the same time."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except connection.OperationalError:
            # Another worker is switching the file at this moment, and the mode belongs to the file.
            pass
    connection.execute("PRAGMA synchronous=NORMAL")


def _identity(path: str) -> Optional[tuple[int, int]]:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
