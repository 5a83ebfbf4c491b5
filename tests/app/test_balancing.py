"""Where this node's clients go: lists for those who ask, a place for those who must leave, and what HAProxy is told."""

import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast, get_args, get_type_hints

import msgspec
import pytest

from posthouse.api.operating import Refused
from posthouse.app.balancing import Balancing
from posthouse.app.config.values import Balance, Config, Drain, Listen
from posthouse.app.operating import ClusterOperator
from posthouse.balance.named import NAMES
from posthouse.balance.report import LoadReport
from posthouse.cluster.events import Events
from posthouse.cluster.snapshot import NOBODY, ClusterSnapshot, NodeReport, NodeView, Presence
from posthouse.gateway.drain import Standing
from posthouse.health.report import FAILED, OK, HealthReport
from posthouse.messaging.notes import DrainNote, Note, RebalanceNote
from posthouse.protocol.codes import Code
from tests.gateway.hall import Hall, hall, settled

HOST = "chat.example:8080"


class Place:
    """Node `n`, whose gateway is a hall, with others beside it as the picture says."""

    def __init__(self, it: Hall, config: Config) -> None:
        self.it = it
        self.picture = NOBODY
        self.health = HealthReport()
        self.probes = SimpleNamespace(draining=False, report=lambda: self.health)
        self.events = Events("n", lambda: 1, it.clock)
        self.posted: list[Note] = []
        self.balancing = Balancing(
            config,
            it.gateway,
            lambda: self.picture,
            cast("Any", self.probes),
            self.events,
            it.clock,
            random.Random(1),
        )
        self.operator = ClusterOperator(self.balancing, lambda: self.picture, self.posted.extend, self.events)

    def see(self, **nodes: dict[str, Any]) -> None:
        """The newest picture. A node is given as fields of its report, with `sessions` and `presence`."""
        now = self.it.clock.monotonic()
        views = []
        for name, given in nodes.items():
            fields = {"clients_url": f"ws://{name}:80", **given}
            sessions, presence = fields.pop("sessions", 0), fields.pop("presence", Presence.LIVE)
            load = LoadReport(name, connections=sessions)
            report = NodeReport(node=name, incarnation=1, load=load, up_s=1e6, **fields)
            views.append(NodeView(report, now, presence, "because"))
        self.picture = ClusterSnapshot(now, True, tuple(views), "read")

    def listed(self, *, reasons: bool = False) -> list[tuple[str, int]]:
        found = self.balancing.endpoints(HOST, secure=False, reasons=reasons)
        return [(each.url, each.weight) for each in found]

    def told(self, kind: str = "") -> list[str]:
        return [event.why for event in self.events.latest(kind=kind)]


CONFIG = Config(drain=Drain(window_s=2.0, gather_s=0.5))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with hall() as it:
        made = Place(it, CONFIG)
        yield made
        await made.balancing.close()


async def placed(config: Config) -> AsyncIterator[Place]:
    async with hall() as it:
        made = Place(it, config)
        yield made
        await made.balancing.close()


def test_the_configuration_offers_every_policy() -> None:
    hint = get_type_hints(Balance, include_extras=True)["policy"]
    assert get_args(get_args(hint)[0]) == NAMES


# Endpoints --------------------------------------------------------------------------------------------------------


async def test_a_node_alone_is_reached_where_it_was_asked(place: Place) -> None:
    assert place.listed() == [(f"ws://{HOST}/v1/ws", 100)]
    place.see(n={})
    assert place.listed() == [(f"ws://{HOST}/v1/ws", 100)]


async def test_several_nodes_are_weighted_by_the_room_that_they_have(place: Place) -> None:
    place.see(n={"sessions": 100}, o={"sessions": 100}, p={"sessions": 20})
    weights = dict(place.listed())
    assert set(weights) == {"ws://n:80/v1/ws", "ws://o:80/v1/ws", "ws://p:80/v1/ws"}
    assert weights["ws://p:80/v1/ws"] > 3 * weights["ws://o:80/v1/ws"]
    assert sum(weights.values()) == pytest.approx(300, abs=3)


async def test_nodes_that_drain_or_have_gone_or_are_not_ready_are_not_listed(place: Place) -> None:
    place.see(n={}, o={"draining": True}, p={"presence": Presence.GONE}, q={"ready": False}, r={}, s={}, t={})
    assert {url for url, _ in place.listed()} == {f"ws://{name}:80/v1/ws" for name in "nrst"}


async def test_the_list_is_not_empty_when_nobody_is_well(place: Place) -> None:
    """Somebody who may be well is better than nobody."""
    place.see(n={"draining": True}, o={"draining": True})
    assert len(place.listed()) == 2
    place.see(n={"ready": False}, o={"ready": False})
    assert len(place.listed()) == 2


async def test_only_operators_are_told_why(place: Place) -> None:
    place.see(n={"sessions": 3}, o={"sessions": 5})
    public = place.balancing.endpoints(HOST, secure=False, reasons=False)
    assert all(each.reason is msgspec.UNSET for each in public)
    reasons = [each.reason for each in place.balancing.endpoints(HOST, secure=False, reasons=True)]
    assert reasons[0] == "n: 4 connections, against o with 5 connections", (
        "the one that was just sent there counts"
    )
    assert str(reasons[1]).endswith("of new sessions, with 5 connections and 0% utilised")


async def test_the_balancer_in_front_is_the_last_resort() -> None:
    config = msgspec.structs.replace(CONFIG, listen=Listen(front_url="https://chat.example"))
    async for place in placed(config):
        place.see(n={}, o={})
        assert place.listed()[-1] == ("wss://chat.example/v1/ws", 0)


async def test_who_asked_over_tls_is_not_led_away_from_it(place: Place) -> None:
    place.see(n={}, o={}, p={"clients_url": "wss://p"})
    found = place.balancing.endpoints(HOST, secure=True, reasons=False)
    assert [each.url for each in found] == ["wss://p/v1/ws"]
    place.see(n={}, o={})
    found = place.balancing.endpoints(HOST, secure=True, reasons=False)
    assert [each.url for each in found] == [f"wss://{HOST}/v1/ws"]


# Draining ---------------------------------------------------------------------------------------------------------


async def test_who_comes_while_the_node_drains_is_told_where_to_go(place: Place) -> None:
    place.see(n={}, o={})
    place.it.gateway.notes.hear([DrainNote("n", 1.0, "an operator asked")])
    await settled()
    guest = place.it.accept()
    guest.hello("ann")
    assert guest.ended == Code.DRAINING
    assert guest.heard("goaway")[0]["endpoint"] == "ws://o:80/v1/ws"
    assert (place.probes.draining, place.told("drain")) == (True, ["an operator asked"])


async def test_a_note_for_another_node_is_not_ours(place: Place) -> None:
    place.see(n={}, o={})
    place.it.gateway.notes.hear([DrainNote("o", 1.0, "an operator asked")])
    await settled()
    assert not place.probes.draining


async def test_an_undone_drain_lets_people_in_again(place: Place) -> None:
    place.see(n={}, o={})
    place.it.gateway.notes.hear([DrainNote("n", 1.0, "out"), DrainNote("n", 0.0, "in again", undo=True)])
    await settled()
    place.it.gateway.notes.hear([DrainNote("n", 0.0, "in again", undo=True)])
    assert (await place.it.enter("ann")).welcome["node"] == "n"
    assert not place.probes.draining


async def test_stopping_begins_with_a_drain_where_there_is_somewhere_to_go(place: Place) -> None:
    place.see(n={}, o={})
    await place.balancing.drain_before_stop()
    assert place.balancing.drain.standing is Standing.DRAINED


async def test_a_node_alone_stops_without_one(place: Place) -> None:
    place.see(n={}, o={"draining": True}, p={"presence": Presence.GONE})
    await place.balancing.drain_before_stop()
    assert place.balancing.drain.standing is Standing.SERVING


async def test_haproxy_is_told_what_the_node_does(place: Place) -> None:
    place.see(n={}, o={})
    assert place.balancing.agent_line() == b"ready up 100%\n"
    place.probes.draining = True
    assert place.balancing.agent_line() == b"drain\n"
    await place.balancing.drain_before_stop()
    assert place.balancing.agent_line() == b"maint\n"


async def test_a_node_is_relieved_of_a_share_of_its_sessions(place: Place) -> None:
    guests = [await place.it.enter(f"u{number}") for number in range(20)]
    place.see(n={"sessions": 20}, o={})
    assert place.balancing.move(0.1, "the processor is full") == 2
    assert sum(guest.ended == Code.REBALANCED for guest in guests) == 2
    place.see(n={"sessions": 20})
    assert place.balancing.move(0.1, "the processor is full") == 0


# What operators ask -----------------------------------------------------------------------------------------------


async def test_operators_see_everybody_and_what_each_gets(place: Place) -> None:
    place.see(n={"zone": "a"}, o={"presence": Presence.GONE, "sessions": 9})
    n, o = place.operator.nodes().nodes
    assert (n.node, n.presence, n.zone, n.share) == ("n", "live", "a", 1.0)
    assert (o.presence, o.ready, o.sessions, o.share) == ("gone", False, 0, 0.0)


async def test_a_command_is_passed_on_to_the_node_it_is_for(place: Place) -> None:
    place.see(n={}, o={"sessions": 9})
    assert place.operator.drain("o", 30.0, undo=False).sessions == 9
    place.operator.drain("o", 30.0, undo=True)
    place.operator.rebalance(dry_run=False)
    drain, undo, rebalance = place.posted
    assert isinstance(drain, DrainNote)
    assert isinstance(undo, DrainNote)
    assert (drain.node, drain.within_s, drain.undo, undo.undo) == ("o", 30.0, False, True)
    assert isinstance(rebalance, RebalanceNote)


async def test_a_dry_run_tells_nobody(place: Place) -> None:
    place.see(n={}, o={"sessions": 9})
    assert {move.node for move in place.operator.rebalance(dry_run=True)} == {"n", "o"}
    assert place.posted == []


async def test_the_last_node_that_takes_clients_is_not_drained(place: Place) -> None:
    place.see(n={}, o={"draining": True}, p={"presence": Presence.GONE})
    with pytest.raises(Refused, match="nowhere to go"):
        place.operator.drain("n", 30.0, undo=False)
    with pytest.raises(Refused, match="gone"):
        place.operator.drain("p", 30.0, undo=False)
    with pytest.raises(KeyError):
        place.operator.drain("x", 30.0, undo=False)
    assert place.posted == []


async def test_everybody_evens_out_when_an_operator_asks(place: Place) -> None:
    place.balancing.rebalancer.automatic = False
    guests = [await place.it.enter(f"u{number}") for number in range(20)]
    place.see(n={"sessions": 20}, o={})
    place.it.gateway.notes.hear([RebalanceNote("an operator asked")])
    assert place.balancing.rebalancer.shed().sessions >= 1
    assert any(guest.ended == Code.REBALANCED for guest in guests)
    assert place.told("rebalance")[0].startswith("n sheds: 20 sessions")


async def test_where_nobody_can_be_moved_to_is_told_once_and_nothing_is_shed(place: Place) -> None:
    guests = [await place.it.enter(f"u{number}") for number in range(20)]
    place.see(n={"sessions": 20}, o={"clients_url": ""})
    why = (
        "n keeps its sessions: 20 sessions, 2.00 times the fair share of 10, but where clients reach o is not"
        " configured (listen.public_url, listen.front_url)"
    )
    for _ in range(3):
        assert place.balancing.rebalancer.shed().sessions == 0
    assert place.told("rebalance") == [why]
    plan = {move.node: (move.sessions, move.reason) for move in place.operator.rebalance(dry_run=True)}
    assert plan["n"] == (0, why)
    assert place.balancing.move(0.1, "memory is full") == 0
    assert place.told("move") == [
        "0 sessions were sent elsewhere, where clients reach the others is not configured: memory is full"
    ]
    place.it.gateway.notes.hear([RebalanceNote("an operator asked")])
    place.balancing.rebalancer.shed()
    assert len(place.told("rebalance")) == 2, "who asks is told"
    assert not any(guest.ended for guest in guests)


async def test_sessions_change_nodes_through_the_balancer_where_nodes_have_no_address() -> None:
    config = msgspec.structs.replace(CONFIG, listen=Listen(front_url="https://chat.example"))
    async for place in placed(config):
        guests = [await place.it.enter(f"u{number}") for number in range(20)]
        place.see(n={"sessions": 20, "clients_url": ""}, o={"clients_url": ""})
        assert place.balancing.rebalancer.shed().sessions >= 1
        (moved, *_) = [guest for guest in guests if guest.ended == Code.REBALANCED]
        assert moved.heard("goaway")[0]["endpoint"] == "wss://chat.example/v1/ws"


@pytest.mark.parametrize(
    ("theirs", "moves"),
    [
        ({"databases": {"a": FAILED}}, False),
        ({"replicas": {"a/h1": FAILED}}, False),
        ({"cache": FAILED}, False),
        ({"canary": FAILED}, False),
        ({"databases": {"a": OK, "b": FAILED}}, True),
        ({}, True),
    ],
)
async def test_nobody_is_moved_to_a_node_that_fares_worse(
    place: Place, theirs: dict[str, Any], moves: bool
) -> None:
    """It is ready as yet: whether the fault is its own shows later. A fault that both have is no reason."""
    guests = [await place.it.enter(f"u{number}") for number in range(20)]
    place.health = HealthReport(databases={"a": OK, "b": FAILED})
    place.see(n={"sessions": 20}, o={"health": HealthReport(**theirs)})
    assert bool(place.balancing.rebalancer.shed().sessions) is moves
    assert any(guest.ended == Code.REBALANCED for guest in guests) is moves
