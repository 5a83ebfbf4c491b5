"""Transactions: writes that hold the lock from their first statement, and views that do not move while being read."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


@contextmanager
def writing(connection: apsw.Connection) -> Iterator[None]:
    """Commit, durably, at the end; roll back when anything is raised. What is read inside is read under the lock."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        roll_back(connection)


@contextmanager
def viewing(connection: apsw.Connection) -> Iterator[None]:
    """Several statements that read one state of the database."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        roll_back(connection)


def roll_back(connection: apsw.Connection) -> None:
    """End a transaction that has not ended by itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
