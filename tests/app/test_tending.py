"""Tending: what a node takes for its symptoms, what it does to itself, and where its canaries live."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from posthouse.app.balancing import Balancing
from posthouse.app.config import Config
from posthouse.app.config.values import Remedies
from posthouse.app.ports import Ports
from posthouse.app.tending import CanaryKeeper, Tending, peers, replica_parts, utilisation
from posthouse.auth.tokens import TokenInvalid, TokenVerifier
from posthouse.balance.report import LoadReport
from posthouse.cluster.events import Events
from posthouse.cluster.lease import Claim
from posthouse.cluster.snapshot import ClusterSnapshot, NodeReport, NodeView, Presence
from posthouse.gateway.admission import Admission, Rates
from posthouse.gateway.gateway import Gateway
from posthouse.health.canary import Nest
from posthouse.health.probes import Probes
from posthouse.health.remedies import Action, Remedy, RemedyRule
from posthouse.health.report import CANARY_APP, HealthReport
from posthouse.health.vitals import Vitals
from posthouse.kit.clock import ManualClock
from posthouse.model.ids import shard_of
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Appended, Condition, Outcome, Refused, StorageUnavailable


def view(node: str, presence: Presence = Presence.LIVE, **said: Any) -> NodeView:
    load = said.pop("load", LoadReport(node))
    report = NodeReport(node=node, incarnation=1, api_url=f"http://{node}", load=load, **said)
    return NodeView(report, 0.0, presence, "it announces itself")


class Ward:
    """A node that is tended, among others that the test sets."""

    def __init__(self, mode: str = "act") -> None:
        self.clock = ManualClock()
        self.vitals = Vitals()
        self.others: list[NodeView] = []
        self.known = True
        self.done: list[tuple[Any, ...]] = []
        self.admission = Admission(Rates(), 0.0)
        self.gateway = SimpleNamespace(node="n1", admission=self.admission)
        self.balancing = SimpleNamespace(
            move=lambda share, why: self.done.append(("move", share)),
            begin_drain=lambda within_s, why: self.done.append(("drain", within_s)),
            undo_drain=lambda why: self.done.append(("undrain",)),
        )
        self.condition = Condition(True, True)
        self.probes = Probes({"main": cast("Any", self)}, self.clock, "n1")
        self.events = Events("n1", lambda: 1, self.clock)
        self.tending = Tending(
            Config(remedies=Remedies(mode=cast("Any", mode))),
            cast("Gateway", self.gateway),
            self.probes,
            cast("Balancing", self.balancing),
            self.events,
            cast("Claim", self),
            lambda: ClusterSnapshot(0.0, self.known, (view("n1"), *self.others), ""),
            lambda: self.vitals,
            self.clock,
        )

    async def probe(self) -> Condition:
        return self.condition

    async def renew(self) -> bool:
        return True

    async def release(self) -> None:
        """Nobody else wants it."""

    async def look(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.clock.advance(1)
            await self.tending.attendant.look()


def test_peers_are_fresh_only_while_the_register_can_be_read() -> None:
    picture = ClusterSnapshot(
        0.0,
        True,
        (view("n1"), view("n2", health=HealthReport(canary="ok")), view("n3", Presence.SILENT)),
        "",
    )
    found = peers(picture, "n1")
    assert [(peer.node, peer.url, peer.fresh) for peer in found] == [
        ("n2", "http://n2", True), ("n3", "http://n3", False),
    ]  # fmt: skip
    assert found[0].report.canary == "ok"
    assert not any(peer.fresh for peer in peers(ClusterSnapshot(0.0, False, picture.nodes, ""), "n1"))


def test_the_scarcest_resource_is_the_load() -> None:
    assert utilisation(LoadReport("n1", cpu=0.4, loop_lag_ms=70.0)) == pytest.approx(0.7)
    assert utilisation(LoadReport("n1", cpu=0.9, memory=0.5)) == pytest.approx(0.9)


async def test_symptoms_are_the_nodes_own_and_its_neighbours() -> None:
    ward = Ward()
    await ward.probes.probe()
    ward.vitals = Vitals(cpu=1.0, memory=0.4, loop_lag_ms=1_200.0)
    ward.others = [
        view("n2"),
        view("n3", load=LoadReport("n3", cpu=0.95)),
        view("n4", ready=False),
        view("n5", draining=True),
    ]
    found = ward.tending.symptoms()
    assert found.utilisation == pytest.approx(1.2)
    assert (found.sick, found.others, found.others_ready, found.others_free) == ("", 4, 2, 1)
    assert not found.restartable


async def test_a_node_that_drains_is_not_sick_for_that() -> None:
    ward = Ward()
    await ward.probes.probe()
    ward.probes.draining = True
    assert ward.tending.symptoms().sick == ""
    ward.condition = Condition(False, False, "gone")
    for _ in range(3):
        await ward.probes.probe()
    assert ward.tending.symptoms().sick == "the database does not answer: gone"


async def test_overload_refuses_newcomers_until_it_is_over() -> None:
    ward = Ward(mode="dry-run")
    await ward.probes.probe()
    ward.vitals = Vitals(cpu=1.0, loop_lag_ms=300.0)
    await ward.look(60)
    assert ward.admission.shed_wait_s() == 0.0, "a busy node that answers in time is not overloaded"
    ward.vitals = Vitals(memory=0.97)
    await ward.look(8)
    assert 5.0 <= ward.admission.shed_wait_s() <= 10.0
    assert [event.kind for event in ward.events.latest()] == ["readiness", "remedy:shed"]
    ward.vitals = Vitals(cpu=0.2)
    await ward.look(8)
    assert ward.admission.shed_wait_s() == 0.0


async def test_each_remedy_does_what_it_says() -> None:
    ward = Ward()
    restarted: list[str] = []
    ward.tending.restart = restarted.append
    for action in (Action.MOVE, Action.DRAIN, Action.UNDRAIN, Action.RESTART):
        ward.tending.apply(Remedy(action, "the test says so"))
    assert ward.done == [("move", 0.1), ("drain", 10.0), ("undrain",)]
    assert restarted == ["the test says so"]


async def test_a_dry_run_is_told_as_one() -> None:
    ward = Ward(mode="dry-run")
    ward.others = [view("n2"), view("n3")]
    ward.condition = Condition(False, False, "gone")
    for _ in range(3):
        await ward.probes.probe()
    await ward.look(RULE_DRAIN_S + 2)
    told = [event for event in ward.events.latest() if event.kind == "remedy:drain"]
    assert [(event.subject, event.dry_run) for event in told] == [("n1", True)]
    assert ward.done == []


RULE_DRAIN_S = round(RemedyRule().drain_after_s)


def test_replicas_are_parts_where_there_are_several_hosts() -> None:
    def host(name: str, role: str, why: str = "") -> Any:
        class Host(SimpleNamespace):
            def __str__(self) -> str:
                return f"{self.host.name} is {why or role}"

        return Host(host=SimpleNamespace(name=name), role=role, why=why)

    several = SimpleNamespace(
        hosts=lambda: (host("a", "primary"), host("b", "standby"), host("c", "away", "not reached"))
    )
    alone = SimpleNamespace(hosts=lambda: (host("x", "away"),))
    ports = cast("Ports", SimpleNamespace(databases={"main": several, "one": alone, "sqlite": object()}))
    assert [(part.name, part.state, part.reason) for part in replica_parts(ports)] == [
        ("replica main/b", "ok", "the replica b is standby"),
        ("replica main/c", "failed", "the replica c is not reached"),
    ]


# Canaries -------------------------------------------------------------------------------------------------------------


class Aviary:
    """A keeper over two databases, between which shards are dealt by turns."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.outcome: Outcome = Appended(1, 1, 0)
        self.appended: list[Append] = []
        ports = SimpleNamespace(
            databases={"a": object(), "b": object()},
            owner=lambda app, log: "ab"[shard_of(app, log, 64) % 2],
        )
        self.keeper = CanaryKeeper(
            "n1",
            cast("Ports", ports),
            self.append,
            self.clock,
            address=lambda: "127.0.0.1:8080",
            tls=lambda: None,
            grounded=lambda: False,
            token_ttl_s=60,
        )
        self.ports = ports

    async def append(self, append: Append) -> Outcome:
        self.appended.append(append)
        return self.outcome


def test_each_database_has_a_nest_of_which_user_and_conversation_lie_there() -> None:
    aviary = Aviary()
    nests = aviary.keeper.nests()
    assert set(nests) == {"a", "b"}
    for name, nest in nests.items():
        assert aviary.ports.owner(CANARY_APP, nest.conv) == name
        assert aviary.ports.owner(CANARY_APP, f"~{nest.user}") == name
    assert aviary.keeper.nests() == nests, "always the same"


def test_a_database_without_shards_has_none() -> None:
    aviary = Aviary()
    aviary.ports.owner = lambda app, log: "a"
    assert set(aviary.keeper.nests()) == {"a"}


def test_its_tokens_are_good_on_this_node_only() -> None:
    one, other = Aviary(), Aviary()
    verifier = TokenVerifier({}, ttl_s_max=60)
    verifier.admit(one.keeper.keys)
    now_s = one.clock.now_ms() // 1000
    identity = verifier.verify(one.keeper.token("n1.0"), now_s)
    assert (identity.app, identity.user) == (CANARY_APP, "n1.0")
    with pytest.raises(TokenInvalid):
        verifier.verify(other.keeper.token("n1.0"), now_s)


async def test_what_the_database_refuses_is_no_fault_of_the_nodes() -> None:
    aviary = Aviary()
    await aviary.keeper.furnish(Nest("n1.0", "n1.0"))
    assert (aviary.appended[0].app, aviary.appended[0].trusted) == (CANARY_APP, True)
    aviary.outcome = Refused(Code.UNAVAILABLE, "the database is away")
    with pytest.raises(StorageUnavailable, match="away"):
        await aviary.keeper.furnish(Nest("n1.0", "n1.0"))
