"""The fixtures that every part of the storage contract stands on."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from posthouse.storage.base import Database
from posthouse.testing.contracts.storage.talk import Talk

OpenDatabase = Callable[[], Awaitable[Database]]
"""Opens the database under test; called again after `close`, it opens the same data."""


class Opened:
    """A subclass defines the fixture `open_database`, an `OpenDatabase`.

    The data need not be fresh for each test: every `Talk` has an app of its own.
    """

    @pytest.fixture
    async def database(self, open_database: OpenDatabase) -> AsyncIterator[Database]:
        database = await open_database()
        yield database
        await database.close()

    @pytest.fixture
    def talk(self, database: Database) -> Talk:
        return Talk(database)
