"""A user's conversation list, put together: what the user's inbox names, then what those conversations say."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from posthouse.protocol.frames import Summary
from posthouse.storage.base import Inbox, Listed, StorageUnavailable
from posthouse.storage.marks import TOP, Mark, mark_of, text_of


class Lists(Protocol):
    """What of the storage port a list is put together from, with the port's meaning."""

    async def inboxes(self, app: str, users: Sequence[str]) -> Sequence[Inbox | None]: ...

    async def summaries(
        self, app: str, user: str, convs: Sequence[str], *, below: Mark = TOP, limit: int = 500
    ) -> list[Listed]: ...


class Summaries(NamedTuple):
    """A page of a user's conversation list, newest activity first; `next_page` is empty on the last."""

    items: tuple[Summary, ...]
    next_page: str


async def listing(log: Lists, app: str, user: str, *, page: str = "", limit: int = 500) -> Summaries:
    """The page after the mark `page`; one that was made up stands for the beginning.

    Whole or not at all: raises `StorageUnavailable` when a database that holds some of it cannot be asked.
    """
    (inbox,) = await log.inboxes(app, [user])
    if inbox is None:
        raise StorageUnavailable("the database that holds this user's list cannot be asked now")
    convs = inbox.convs + inbox.left
    found = await log.summaries(app, user, convs, below=mark_of(page), limit=limit + 1) if convs else []
    more, found = len(found) > limit, found[:limit]
    items = tuple(_seen_by_user(each.summary) for each in found)
    return Summaries(items, text_of(found[-1].mark) if more else "")


def _seen_by_user(summary: Summary) -> Summary:
    """Who has left learns nothing of what has changed since: neither the title that is now, nor how many there are."""
    return replace(summary, title="", members=0) if summary.left else summary
