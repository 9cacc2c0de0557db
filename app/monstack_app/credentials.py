"""Where the database URL comes from. Another source is one more class and one more line in `provider`."""

from __future__ import annotations

import logging
import stat
from pathlib import Path
from typing import Optional, Protocol

from sqlalchemy.engine import URL, make_url

from .settings import PREFIX, Settings

_LIMIT = 8192
_DRIVERS = {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
_log = logging.getLogger(__name__)


class CredentialsError(Exception):
    """The database URL cannot be had. The message never holds any part of it."""


class Provider(Protocol):
    """A source of the database URL."""

    #: What the logs call this source.
    name: str

    def read(self) -> URL:
        """Reads the URL as it is now; raises `CredentialsError`."""


class FixedUrl:
    """A URL that stays what it is as long as the app runs."""

    def __init__(self, name: str, url: URL) -> None:
        self.name = name
        self._url = url

    def read(self) -> URL:
        return self._url


class UrlFile:
    """A file that holds the URL; it is replaced when the password changes."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._told: Optional[int] = None

    def read(self) -> URL:
        try:
            with self._path.open("rb") as file:
                mode = stat.S_IMODE(self._path.stat().st_mode)
                text = file.read(_LIMIT)
        except OSError as error:
            raise CredentialsError(f"`{self.name}`: cannot read `{self._path}`: {error.strerror}") from None
        if mode & 0o077 and mode != self._told:
            self._told = mode
            _log.warning("others may read the file with the database URL, its mode is %04o; wanted 0600", mode)
        return parse(self.name, text.decode("utf-8", "replace"))


def provider(settings: Settings) -> Provider:
    """Chooses the source that the settings name; without any, a SQLite file in the data folder."""
    if settings.database_url_file is not None:
        return UrlFile(PREFIX + "DATABASE_URL_FILE", settings.database_url_file)
    if settings.database_url is not None:
        name = PREFIX + "DATABASE_URL"
        return FixedUrl(name, parse(name, settings.database_url))
    return FixedUrl(PREFIX + "DATA_DIR", URL.create("sqlite", database=str(settings.data_dir / "visits.db")))


def parse(name: str, text: str) -> URL:
    """Reads a database URL. The cause of a failure is dropped, because it may quote the password."""
    try:
        url = make_url(text.strip())
        driver = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        driver.get_dialect().import_dbapi()
    except Exception as error:
        kind = type(error).__name__
        raise CredentialsError(
            f"`{name}`: found no usable database URL ({kind}), wanted `mysql://USER:PASSWORD@HOST/NAME` or "
            "`sqlite:////PATH`, with special characters of the password percent-encoded"
        ) from None
    if driver.get_backend_name() == "sqlite" and driver.database in (None, "", ":memory:"):
        raise CredentialsError(f"`{name}`: found SQLite in memory, wanted a file: each worker would count alone")
    return driver
