"""What a person may call the parts of a playground."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.testing.playground.part import PartStatus, State
from posthouse.testing.playground.plan import Plan, Refused
from posthouse.testing.playground.playground import Playground
from posthouse.testing.playground.programs import Programs

NOWHERE = Programs(*(Path("/nowhere"),) * 4)


@pytest.fixture
async def playground(tmp_path: Path) -> AsyncIterator[Playground]:
    playground = Playground(tmp_path, Plan(), NOWHERE, SystemClock())
    yield playground
    await playground.close()


async def names(playground: Playground, what: str) -> list[str]:
    return [part.name for part in await playground.meant(what)]


async def test_a_name_means_one_part_and_a_group_all_of_its_kind(playground: Playground) -> None:
    assert await names(playground, "node-2") == ["node-2"]
    assert await names(playground, "nodes") == ["node-1", "node-2", "node-3"]
    assert await names(playground, "database-b") == ["database-b-1", "database-b-2", "database-b-3"]
    assert await names(playground, "haproxy") == ["haproxy"]


async def test_a_role_means_the_one_that_has_it_now(
    playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, role in zip(
        playground.databases["database-a"], ("replica", "primary", "sync standby"), strict=True
    ):

        async def status(name: str = part.name, role: str = role) -> PartStatus:
            return PartStatus(name=name, group="database-a", state=State.RUNNING, role=role)

        monkeypatch.setattr(part, "status", status)
    assert await names(playground, "database-a primary") == ["database-a-2"]
    assert await names(playground, "Database-A sync standby") == ["database-a-3"]


async def test_a_role_that_nobody_has_is_said(playground: Playground) -> None:
    with pytest.raises(Refused, match="cache has no primary now"):
        await playground.meant("cache primary")


async def test_an_unknown_name_is_refused_with_those_there_are(playground: Playground) -> None:
    with pytest.raises(Refused, match="no 'node-9'") as refused:
        await playground.meant("node-9")
    assert "node-3" in refused.value.todo
    assert "database-b primary" in refused.value.todo


async def test_what_does_not_run_can_not_be_killed(playground: Playground) -> None:
    with pytest.raises(Refused, match="node-1 does not run"):
        await playground.act("kill", "node-1")


async def test_nothing_is_cut_where_no_proxies_stand(playground: Playground) -> None:
    with pytest.raises(Refused, match="no fault proxies"):
        await playground.cut("node-1", "both")


async def test_workers_have_consecutive_ports_of_their_own(tmp_path: Path) -> None:
    playground = Playground(tmp_path, Plan(nodes=2, workers=2), NOWHERE, SystemClock())
    taken = [
        first.listen + number
        for node in playground.nodes
        for first, count in ((node.port, 3), (node.agent_port, 2))
        for number in range(count)
    ]
    assert len(taken) == len(set(taken))
    await playground.close()


async def test_disks_are_filled_only_where_nobody_else_needs_them(playground: Playground) -> None:
    with pytest.raises(Refused, match="no disk of its own"):
        await playground.disk("database-a-1", "fill")
    with pytest.raises(Refused, match="no workers"):
        await playground.hang("node-1")
