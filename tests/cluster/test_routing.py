"""Several databases, of which some are away, hang, lag behind or come back as others: only their own part suffers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from posthouse.cluster import databases as databases_module
from posthouse.cluster.databases import Databases
from posthouse.cluster.routing import RoutedDatabase
from posthouse.kit.clock import ManualClock, SystemClock
from posthouse.messaging.listing import listing
from posthouse.model.cursor import Cursor
from posthouse.model.ids import account_id
from posthouse.protocol.codes import Code
from posthouse.storage.base import (
    Appended,
    Charter,
    CursorUpdate,
    Database,
    Inbox,
    Moved,
    Owner,
    PartlyUnavailable,
    Refused,
    StorageUnavailable,
    User,
)
from posthouse.storage.engines.sqlite.database import SqliteDatabase
from posthouse.testing.contracts.storage import Talk

T = TypeVar("T")
NAMES = ("a", "b")


class Faulty(SqliteDatabase):
    """A SQLite file that can be away, hang, or own less than the router believes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, SystemClock())
        self.away = False
        self.hangs = False
        self.moved = 0
        self.own_epoch = ""

    @property
    def epoch(self) -> str:
        return self.own_epoch or super().epoch

    async def open(self) -> None:
        await self._fault()
        await super().open()

    async def _fault(self) -> None:
        if self.away:
            raise StorageUnavailable("away")
        if self.hangs:
            await asyncio.Event().wait()

    async def _read(self, work: Callable[[Any], T]) -> T:
        await self._fault()
        if self.moved and "charter" not in getattr(work, "__name__", ""):
            self.moved -= 1
            raise Moved("moved")
        return await super()._read(work)

    async def _write(self, work: Callable[[Any], T]) -> T:
        await self._fault()
        return await super()._write(work)


@dataclass
class Site:
    """Two such databases behind a router; a group and a user in each."""

    folder: Path
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.named = {name: Faulty(self.folder / f"{name}.sqlite") for name in NAMES}
        self.databases = Databases(cast("dict[str, Database]", self.named), self.clock)
        self.routed = RoutedDatabase(self.databases)
        self.talk = Talk(cast("Database", self.routed))

    def group(self, name: str) -> str:
        """A conversation that lies in a database."""
        return next(f"g{n}" for n in range(1000) if self.databases.owner(self.talk.app, f"g{n}") == name)

    def user(self, name: str) -> str:
        """A user whose account lies in a database."""
        users = (f"u{n}" for n in range(1000))
        return next(user for user in users if self.databases.owner(self.talk.app, account_id(user)) == name)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    await site.routed.open()
    users = [site.user(name) for name in NAMES]
    for name in NAMES:
        await site.talk.start(site.group(name), *users)
        await site.talk.say(site.group(name), users[0], "hello")
    yield site
    for database in site.named.values():
        database.away = database.hangs = False
    await site.routed.close()


async def test_a_dead_database_is_unknown_and_never_nothing(site: Site) -> None:
    """Heads, inboxes and memberships of the living are answered: one dead database keeps nobody else out."""
    site.named["b"].away = True
    app, (a, b), (ann, ben) = site.talk.app, map(site.group, NAMES), map(site.user, NAMES)
    assert await site.routed.heads(app, [a, b, "none"]) in ({a: 2, b: None}, {a: 2, b: None, "none": None})
    inboxes = await site.routed.inboxes(app, [ben, ann])
    assert inboxes[0] is None
    assert isinstance(inboxes[1], Inbox)
    assert sorted(inboxes[1].convs) == sorted([a, b])
    assert await site.routed.memberships(app, [(ann, b), (ann, a), ("eve", a)]) == [None, True, False]


async def test_what_lies_in_a_dead_database_is_unknown_though_nothing_else_is_asked_about(site: Site) -> None:
    """One user who comes back alone while their database is away is let in as among many."""
    site.named["b"].away = True
    app, b, ann, ben = site.talk.app, site.group("b"), site.user("a"), site.user("b")
    assert await site.routed.inboxes(app, [ben]) == [None]
    assert await site.routed.memberships(app, [(ann, b)]) == [None]
    assert await site.routed.heads(app, [b]) == {b: None}


async def test_when_nobody_can_be_asked_everything_is_unknown(site: Site) -> None:
    for database in site.named.values():
        database.away = True
    app, convs = site.talk.app, [site.group("a"), site.group("b")]
    assert await site.routed.heads(app, convs) == dict.fromkeys(convs)
    assert await site.routed.inboxes(app, [site.user("a"), site.user("b")]) == [None, None]


async def test_a_list_is_whole_or_refused(site: Site) -> None:
    """A client takes what is not in the list for gone."""
    ann = site.user("a")
    assert len((await listing(site.routed, site.talk.app, ann)).items) == 2
    site.named["b"].away = True
    with pytest.raises(StorageUnavailable):
        await listing(site.routed, site.talk.app, ann)
    with pytest.raises(StorageUnavailable):
        await listing(site.routed, site.talk.app, site.user("b"))


async def test_sends_and_cursors_to_the_living_are_written(site: Site) -> None:
    site.named["b"].away = True
    app, (a, b), ann = site.talk.app, map(site.group, NAMES), site.user("a")
    first, second = await site.routed.append([site.talk.send(b, ann), site.talk.send(a, ann)])
    assert isinstance(first, Refused)
    assert first.code is Code.UNAVAILABLE
    assert isinstance(second, Appended)
    updates = [CursorUpdate(app, ann, Cursor(conv, 2)) for conv in (a, b)]
    with pytest.raises(PartlyUnavailable) as caught:
        await site.routed.advance(updates)
    assert caught.value.stored == [CursorUpdate(app, ann, Cursor(a, 2, 2))]
    assert caught.value.failed == [updates[1]]


async def test_records_of_users_are_all_there_or_refused(site: Site) -> None:
    ann, ben = map(site.user, NAMES)
    for user in (ann, ben):
        await site.routed.put_user(site.talk.app, User(user=user, name=user))
    assert len(await site.routed.users(site.talk.app, [ann, ben])) == 2
    site.named["b"].away = True
    assert len(await site.routed.users(site.talk.app, [ann])) == 1
    with pytest.raises(StorageUnavailable):
        await site.routed.users(site.talk.app, [ann, ben])


async def test_a_database_that_hangs_keeps_the_others_waiting_only_for_a_while(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next who ask do not wait for it at all, until it has answered."""
    app, a, b = site.talk.app, site.group("a"), site.group("b")
    monkeypatch.setattr(databases_module, "SCATTER_TIMEOUT_S", 0.05)
    scatter, patience_s = site.routed._scatter, 0.05

    async def hasty(*args: Any, **kwargs: Any) -> Any:
        return await scatter(*args, **{"timeout_s": patience_s, **kwargs})

    monkeypatch.setattr(site.routed, "_scatter", hasty)
    site.named["b"].hangs = True
    assert await site.routed.heads(app, [a, b]) == {a: 2, b: None}
    patience_s = 1e6
    for _ in range(3):
        await site.clock.advance(databases_module.AWAY_S)
        assert await site.routed.heads(app, [a, b]) == {a: 2, b: None}, "nobody is the one who tries"
    site.named["b"].hangs = False
    async with asyncio.timeout(20):
        while await site.routed.heads(app, [a, b]) != {a: 2, b: 2}:
            await site.clock.advance(databases_module.AWAY_S)
            await asyncio.sleep(0.01)


async def test_what_has_moved_is_asked_for_again(site: Site) -> None:
    """With a fresh map, and only that part; the other answers are kept."""
    app, a, b = site.talk.app, site.group("a"), site.group("b")
    site.named["b"].moved = 1
    assert await site.routed.heads(app, [a, b]) == {a: 2, b: 2}
    assert site.databases.reloads == 1
    site.named["a"].moved = 1
    assert await site.routed.conversation(app, a) is not None
    assert site.databases.reloads == 2


async def test_a_shard_that_nobody_owns_for_long_is_unknown(site: Site) -> None:
    site.named["b"].moved = 1000
    asking = asyncio.ensure_future(site.routed.heads(site.talk.app, [site.group("a"), site.group("b")]))
    while not asking.done():
        await asyncio.sleep(0.001)
        await site.clock.advance(0.1)
    assert await asking == {site.group("a"): 2, site.group("b"): None}


# The epoch of all -------------------------------------------------------------------------------------------------


async def test_one_restored_database_changes_the_epoch(site: Site) -> None:
    before = site.routed.epoch
    site.named["b"].own_epoch = "restored"
    assert site.routed.epoch != before


async def test_a_database_that_is_away_when_a_node_starts_is_not_taken_for_changed(
    site: Site, tmp_path: Path
) -> None:
    """Unknown is not changed: the others know its epoch, and clients resume."""
    await site.databases.reload()
    other = Site(tmp_path)
    other.named["b"].away = True
    await other.routed.open()
    try:
        assert other.databases.away == {"b": "away"}
        assert other.routed.epoch == site.routed.epoch
        other.named["b"].away = False
        other.named["b"].own_epoch = "restored"
        assert await _opened(other, "b")
        assert other.routed.epoch != site.routed.epoch
    finally:
        await other.routed.close()


# Starting ---------------------------------------------------------------------------------------------------------


async def _opened(site: Site, name: str) -> bool:
    """Let the loop run until a database has been opened."""
    loop = asyncio.ensure_future(site.databases.run())
    while name not in site.databases.opened:
        await site.clock.advance(databases_module.REFRESH_INTERVAL_S)
        await asyncio.sleep(0.001)
    loop.cancel()
    return True


async def test_what_a_database_knows_of_all_users_is_read_before_it_is_asked_anything(
    site: Site, tmp_path: Path
) -> None:
    """A blocked user must not come in because their database was away when the node started."""
    ben = site.user("b")
    await site.routed.put_user(site.talk.app, User(user=ben, blocked=True))
    other = Site(tmp_path)
    other.talk.app = site.talk.app
    blocked: list[str] = []

    async def read(name: str, database: Database) -> None:
        assert name not in other.databases.opened
        blocked.extend(await database.blocked(other.talk.app))

    other.databases.on_open = read
    other.named["b"].away = True
    await other.routed.open()
    try:
        assert blocked == []
        other.named["b"].away = False
        assert await _opened(other, "b")
        assert blocked == [ben]
    finally:
        await other.routed.close()


async def test_the_first_start_needs_every_database(tmp_path: Path) -> None:
    """Else two nodes might deal the shards differently. The error names what is missing."""
    site = Site(tmp_path)
    site.named["b"].away = True
    with pytest.raises(StorageUnavailable, match="b: away"):
        await site.routed.open()
    await site.routed.close()


async def test_with_no_database_at_all_there_is_no_start(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path)
    for database in other.named.values():
        database.away = True
    with pytest.raises(StorageUnavailable):
        await other.routed.open()
    await other.routed.close()


async def test_a_database_that_was_emptied_is_not_taken_for_the_one_it_was(
    site: Site, tmp_path: Path
) -> None:
    """Others know its epoch: it gets no shards, so that nobody finds their conversations gone and begins anew."""
    await site.databases.reload()
    other = Site(tmp_path)
    other.named["b"] = Faulty(tmp_path / "another.sqlite")
    other.databases = Databases(cast("dict[str, Database]", other.named), other.clock)
    await other.databases.open()
    try:
        assert "b" not in other.databases.opened
        assert "another one than before" in other.databases.away["b"]
    finally:
        await other.databases.close()


async def test_who_knows_less_is_told(site: Site) -> None:
    """Each database keeps a copy of the map, so that it is known while others are away."""
    newest = [Owner(0, "b", 7)]
    await site.named["a"].learn(Charter((), {"x": "1"}))
    site.databases._note({"": Charter(newest, {})})
    assert site.databases.map.owners[0] == Owner(0, "b", 7)
    moved: list[int] = []
    site.databases.on_moved = moved.extend
    site.databases._note({"": Charter([Owner(1, "a", 8)], {})})
    assert moved == [1]
