"""What the client knows of each conversation besides its position: size and unread count. Pure."""

import msgspec

from posthouse.kit.malformed import MALFORMED
from posthouse.model.entry import COUNTING_KINDS, CREATED, MEMBER_JOINED, MEMBER_LEFT, MESSAGE, Entry
from posthouse.model.ids import DIRECT_PREFIX
from posthouse.protocol.frames import Summary

RECEIPT_MEMBERS_MAX = 100
"""In larger conversations nobody is told who has received what, so the client does not say it."""


class MembershipBody(msgspec.Struct):
    """What a membership entry says: the users concerned and, from servers that tell, how many members there are now."""

    users: tuple[str, ...] = ()
    members: int = 0


_decode_membership = msgspec.json.Decoder(MembershipBody).decode


class View:
    """One conversation as this client sees it. `members` 0: not known. `receipts`: tell who has received a message."""

    __slots__ = ("_direct", "members", "ordinal", "read", "read_ordinal", "receipts")

    def __init__(self, conv: str) -> None:
        self.members = 0
        self.receipts = self._direct = conv.startswith(DIRECT_PREFIX)
        self.ordinal = 0
        self.read = 0
        self.read_ordinal = 0

    def count(self, members: int) -> None:
        """The conversation has so many members now."""
        self.members = members
        self.receipts = self._direct or 0 < members <= RECEIPT_MEMBERS_MAX


class Conversations:
    """The views of all the user's conversations."""

    __slots__ = ("_views",)

    def __init__(self) -> None:
        self._views: dict[str, View] = {}

    def learn(self, summary: Summary) -> None:
        """Take what the server's list says."""
        view = self._view(summary.conv)
        view.count(summary.members)
        view.ordinal = max(view.ordinal, summary.last.ordinal if summary.last is not None else 0)
        if summary.read >= view.read:  # the server may not have heard yet what was just read here
            view.read = summary.read
            view.read_ordinal = max(0, view.ordinal - summary.unread)

    def forget(self, conv: str) -> None:
        """The user has left."""
        self._views.pop(conv, None)

    def reset(self) -> None:
        """Forget everything."""
        self._views.clear()

    def apply(self, entry: Entry) -> View:
        """Take a delivered entry into account."""
        view = self._views.get(entry.conv)
        if view is None:
            view = self._begin(entry)
        view.ordinal = entry.ordinal
        if entry.kind != MESSAGE and entry.kind in (CREATED, MEMBER_JOINED, MEMBER_LEFT):
            _count_members(view, entry)
        return view

    def read(self, conv: str, seq: int, applied: int) -> None:
        """The user has read up to `seq` of a log delivered up to `applied`."""
        view = self._view(conv)
        if seq > view.read:
            view.read = seq
            # Each entry beyond `seq` counts at most once; exact when all of them are messages.
            view.read_ordinal = max(view.read_ordinal, view.ordinal - max(0, applied - seq))

    def unread(self, conv: str) -> int:
        """Messages beyond the user's read cursor; exact when only messages follow the entry where it stands."""
        view = self._views.get(conv)
        return view.ordinal - view.read_ordinal if view is not None else 0

    def _begin(self, entry: Entry) -> View:
        view = self._view(entry.conv)
        view.read_ordinal = entry.ordinal - (entry.kind in COUNTING_KINDS)
        return view

    def _view(self, conv: str) -> View:
        view = self._views.get(conv)
        if view is None:
            view = self._views[conv] = View(conv)
        return view


def _count_members(view: View, entry: Entry) -> None:
    try:
        body = _decode_membership(entry.body)
    except MALFORMED:
        view.count(0)
        return
    if body.members or entry.kind == CREATED:
        view.count(body.members or len(body.users))
    elif view.members:
        view.count(view.members + len(body.users) * (1 if entry.kind == MEMBER_JOINED else -1))
