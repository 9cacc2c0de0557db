"""The visit counter: one row that is only ever changed by one UPDATE."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table, insert, inspect, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable

_NAME = "visits"
TABLE = Table(
    "counters",
    MetaData(),
    Column("name", String(64), primary_key=True),
    Column("total", BigInteger, nullable=False),
)
_READ = select(TABLE.c.total).where(TABLE.c.name == _NAME)


def prepare(connection: Connection) -> None:
    """Makes the table and its row where they are missing; any number of workers may do so at once."""
    with connection.begin():
        # Asking first lets a database user without the right to create tables work on a table that is there.
        if not inspect(connection).has_table(TABLE.name):
            connection.execute(CreateTable(TABLE, if_not_exists=True))
    try:
        with connection.begin():
            if connection.execute(_READ).first() is None:
                connection.execute(insert(TABLE).values(name=_NAME, total=0))
    except IntegrityError:
        # Another worker was first.
        pass


def increment(connection: Connection) -> int:
    """Counts one visit and returns the count, which no other caller gets."""
    # The UPDATE comes first: it locks the row, so that the SELECT sees this visit and no later one.
    connection.execute(update(TABLE).where(TABLE.c.name == _NAME).values(total=TABLE.c.total + 1))
    return connection.execute(_READ).scalar_one()


def read(connection: Connection) -> int:
    """Returns the count."""
    return connection.execute(_READ).scalar_one()
