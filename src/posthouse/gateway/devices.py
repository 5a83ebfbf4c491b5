"""One session a device: the newest. Older ones end, on this node at once, on others when they hear of it.

Sessions are ordered by when they opened and then by name, the same on every node, so that of two exactly one stays.
When that was the device says by its own clock: nodes' clocks differ, and a session that lost its client while it was
let in would end the one that took its place elsewhere, for good.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from posthouse.gateway.session import Session
from posthouse.kit.clock import Clock
from posthouse.messaging.notes import Handlers, OpenedNote
from posthouse.model.ids import account_id, account_user
from posthouse.protocol.codes import Code


class _Held(NamedTuple):
    session: Session
    opened_ms: int

    @property
    def age(self) -> tuple[int, str]:
        return self.opened_ms, self.session.id


class Devices:
    """Who is on the line with which device. `tell` is told of each session that goes live here."""

    def __init__(self, clock: Clock, handlers: Handlers) -> None:
        self._clock = clock
        self._held: dict[tuple[str, str, str], _Held] = {}
        self._of_users: Counter[tuple[str, str]] = Counter()
        self.tell: Callable[[OpenedNote], None] = lambda note: None
        handlers.on(OpenedNote, self._opened_elsewhere)

    def admit(self, session: Session) -> bool:
        """The session may go live, and an older one of its device makes way. False: it was itself the older one."""
        key = (session.app, session.user, session.device)
        held = self._held.get(key)
        opened_ms = session.hello_ms or self._opened_ms(session)
        if held is not None and held.session is not session:
            older = held.opened_ms, held.session.opened
            _replace(session if older > (opened_ms, session.opened) else held.session)
        if session.gone:
            return False
        self._of_users[key[:2]] += key not in self._held
        self._held[key] = _Held(session, opened_ms)
        self.tell(OpenedNote(session.app, account_id(session.user), session.device, session.id, opened_ms))
        return True

    def has_room(self, session: Session, devices_max: int) -> bool:
        """True when its user has fewer devices here than may be, or this is one of them."""
        user = session.app, session.user
        return self._of_users[user] < devices_max or (*user, session.device) in self._held

    def forget(self, session: Session) -> None:
        """Its socket is closed."""
        key = (session.app, session.user, session.device)
        held = self._held.get(key)
        if held is not None and held.session is session:
            del self._held[key]
            self._of_users[key[:2]] -= 1
            if not self._of_users[key[:2]]:
                del self._of_users[key[:2]]

    def _opened_ms(self, session: Session) -> int:
        return self._clock.now_ms() - round((self._clock.monotonic() - session.opened) * 1000)

    def _opened_elsewhere(self, note: OpenedNote) -> None:
        held = self._held.get((note.app, account_user(note.conv) or "", note.device))
        if held is not None and held.age < (note.opened_ms, note.session):
            _replace(held.session)


def _replace(older: Session) -> None:
    older.end(Code.REPLACED, "the same device opened a newer session")
