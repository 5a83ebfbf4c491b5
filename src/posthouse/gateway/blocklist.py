"""Whom the applications have blocked, as far as this node has heard.

Notes make it fast; the database is read again now and then, so that a node that missed one learns of it all the same.
"""

from collections.abc import Callable, Sequence

from posthouse.gateway.session import Session
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.messaging.notes import BlockNote, Handlers, UnblockNote
from posthouse.protocol.codes import Code
from posthouse.storage.base import Directory, StorageError

_log = logger(__name__)

REFRESH_INTERVAL_S = 10.0


class Blocklist:
    """`sessions_of` finds the sessions of a user on this node, which end when the user is blocked."""

    def __init__(
        self,
        directory: Directory,
        handlers: Handlers,
        sessions_of: Callable[[str, str], Sequence[Session]],
    ) -> None:
        self._directory = directory
        self._sessions_of = sessions_of
        self._blocked: dict[str, set[str]] = {}
        self._version = 0
        handlers.on(BlockNote, lambda note: self.block(note.app, note.user))
        handlers.on(UnblockNote, lambda note: self.unblock(note.app, note.user))

    def __contains__(self, key: tuple[str, str]) -> bool:
        """(app, user)."""
        return key[1] in self._blocked.get(key[0], ())

    async def load(self, apps: Sequence[str]) -> None:
        """Read who is blocked. What notes have told while it was read counts more than what was read."""
        for app in apps:
            version = self._version
            stored = set(await self._directory.blocked(app))
            if version == self._version:
                for user in sorted(stored - self._blocked.get(app, set())):
                    self.block(app, user)
                self._blocked[app] = stored

    async def refresh(self, apps: Sequence[str], clock: Clock) -> None:
        """Read it again now and then, for ever. A database that is away is asked the next time."""
        while True:
            await clock.sleep(REFRESH_INTERVAL_S)
            try:
                await self.load(apps)
            except StorageError as error:
                _log.warning("who is blocked could not be read; the list stays as it was", reason=str(error))

    def block(self, app: str, user: str) -> None:
        """The application blocked a user: their sessions here end."""
        self._version += 1
        self._blocked.setdefault(app, set()).add(user)
        for session in self._sessions_of(app, user):
            session.end(Code.BLOCKED, "the application has blocked this user")

    def unblock(self, app: str, user: str) -> None:
        """The application lifted a block."""
        self._version += 1
        self._blocked.get(app, set()).discard(user)
