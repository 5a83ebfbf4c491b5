"""Where this node's clients go: endpoints, draining, rebalancing and HAProxy's agent, on the membership's picture.

Decisions are made in `balance`, carried out in `gateway`; here they meet the picture, the clock and chance.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from posthouse.api.service import Endpoint
from posthouse.app.addresses import public_url
from posthouse.app.config.values import Config
from posthouse.app.settings import guards, rebalance_rule
from posthouse.balance.agent import Standing as AgentStanding, agent_answer
from posthouse.balance.director import Director
from posthouse.balance.named import policy
from posthouse.balance.policy import Decision
from posthouse.balance.rebalancing import RebalanceRule, Shed, plan
from posthouse.balance.report import Snapshot
from posthouse.cluster.endpoints import endpoint, loads, others, socket_url
from posthouse.cluster.events import Events
from posthouse.cluster.snapshot import NOBODY, ClusterSnapshot
from posthouse.gateway.drain import ANSWER_S, Drain, Place, Standing
from posthouse.gateway.gateway import Gateway
from posthouse.gateway.rebalancer import Rebalancer
from posthouse.gateway.session import Session
from posthouse.health.probes import Probes
from posthouse.kit.clock import Clock
from posthouse.kit.tasks import Tasks, attempt
from posthouse.messaging.notes import DrainNote, RebalanceNote
from posthouse.protocol.codes import Code

AGENT_STANDINGS: Final[dict[Standing, AgentStanding]] = {
    Standing.SERVING: "serving",
    Standing.DRAINING: "draining",
    Standing.DRAINED: "drained",
}
LAST_RESORT = "the balancer in front of all nodes: the last resort"
ASKED_HERE = "this node: where it was asked"
NOWHERE = "where clients reach the others is not configured"


class Balancing:
    """`picture` is the newest picture of the cluster, of which this node may be a part."""

    def __init__(
        self,
        config: Config,
        gateway: Gateway,
        picture: Callable[[], ClusterSnapshot],
        probes: Probes,
        events: Events,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.node = gateway.node
        self.rule: RebalanceRule = rebalance_rule(config)
        self._config = config
        self._gateway = gateway
        self._picture = picture
        self._probes = probes
        self._events = events
        self._clock = clock
        self._rng = rng
        self._seen: ClusterSnapshot = NOBODY
        self._director = Director(policy(config.balance.policy, config.balance.by), guards(config))
        self._tasks = Tasks(clock)
        self.drain = Drain(lambda: gateway.clients, self.elsewhere, clock, rng)
        self.rebalancer = Rebalancer(
            self.node,
            lambda: gateway.clients,
            self._picture_now,
            self._hand,
            self.rule,
            config.rebalance.again_after_s,
            clock,
            rng,
        )
        self.rebalancer.automatic = config.rebalance.automatic
        self.rebalancer.on_decision = self._rebalancing
        gateway.doorkeeper = self._turn_away
        gateway.elsewhere = lambda: self.elsewhere().endpoint
        gateway.notes.on(DrainNote, self._drain_asked)
        gateway.notes.on(RebalanceNote, self._rebalance_asked)

    # Endpoints ------------------------------------------------------------------------------------------------------

    def endpoints(self, host: str, *, secure: bool, reasons: bool) -> Sequence[Endpoint]:
        """The list for one client, the best first: each node, weighted by its share of new sessions, then the balancer
        in front. `host` is where this was asked: the address of a node alone that was not told its own. Whoever asked
        over TLS is not led away from it."""
        ranked = self._look().rank(self._rng.random(), self._clock.monotonic())
        asked = f"{'wss' if secure else 'ws'}://{host}/v1/ws"
        urls = {each.target: self._url(each.target, asked, alone=len(ranked) == 1) for each in ranked}
        listed = [
            Endpoint(urls[each.target], max(1, round(100 * len(ranked) * each.share)), each.reason)
            for each in ranked
            if urls[each.target] and not (secure and urls[each.target].startswith("ws:"))
        ]
        if not listed:
            listed = [Endpoint(socket_url(public_url(self._config)) or asked, 100, ASKED_HERE)]
        front = socket_url(self._config.listen.front_url)
        listed += [Endpoint(front, 0, LAST_RESORT)] if front else []
        return listed if reasons else [replace(each, reason=UNSET) for each in listed]

    @property
    def alone(self) -> bool:
        """Whether no two of several nodes take clients now."""
        nodes = self._picture().nodes
        return len(nodes) > 1 and sum(view.takes_clients for view in nodes) < 2

    def elsewhere(self) -> Place:
        """Another node for one client, by the policy; a place without endpoint when there is none."""
        decision = self._look().choose(self._rng.random(), self._clock.monotonic(), {self.node})
        return Place(endpoint(self._picture(), decision.target), decision.reason)

    def shares(self) -> dict[str, float]:
        """Each node's share of new sessions now."""
        return self._look().shares()

    def _url(self, node: str, asked: str, *, alone: bool) -> str:
        """A node alone that was not told its URL is best reached where it was asked, which may be through a proxy."""
        if node != self.node:
            return endpoint(self._picture(), node)
        configured = socket_url(public_url(self._config))
        return configured or (asked if alone else endpoint(self._picture(), node) or asked)

    def _look(self) -> Director:
        """The director, who has seen the newest picture."""
        picture = self._picture()
        if picture is not self._seen:
            self._seen = picture
            self._director.see(loads(picture), self._clock.monotonic())
        return self._director

    # Draining -------------------------------------------------------------------------------------------------------

    async def drain_within(self, within_s: float, why: str) -> None:
        """Take this node out of service; returns when its sessions have gone, or when that is undone."""
        self._probes.draining = True
        self._events.record("drain", self.node, why)
        await self.drain.run(within_s, self._config.drain.gather_s, why)

    def begin_drain(self, within_s: float, why: str) -> None:
        """The same in the background."""
        self._tasks.spawn("drain", self.drain_within(within_s, why))

    async def drain_before_stop(self) -> None:
        """What stopping begins with, where there is anybody else to take the clients."""
        window_s = self._config.drain.window_s
        if (
            window_s > 0
            and others(self._picture(), self.node)
            and self.drain.standing is not Standing.DRAINED
        ):
            await attempt("drain", self.drain_within(window_s, f"{self.node} stops"), window_s + ANSWER_S + 1)

    def undo_drain(self, why: str) -> None:
        """Serve again."""
        self.drain.undo()
        self._probes.draining = False
        self._events.record("drain", self.node, why)

    def move(self, share: float, why: str) -> int:
        """Send a share of the sessions elsewhere at once, to relieve this node. Returns how many went."""
        sessions = self.rebalancer.movable(self._look().snapshot)
        moved = self._rng.sample(sessions, round(share * len(sessions)))
        for number, session in enumerate(moved):
            decision = self._look().choose(self._rng.random(), self._clock.monotonic(), {self.node})
            url = self._url_to(decision.target)
            if not url:
                why_not = NOWHERE if decision.target else decision.reason
                self._events.record(
                    "move", self.node, f"{number} sessions were sent elsewhere, {why_not}: {why}"
                )
                return number
            session.depart(Code.REBALANCED, "the node is relieved of some sessions", url)
        self._events.record("move", self.node, f"{len(moved)} sessions were sent elsewhere: {why}")
        return len(moved)

    def agent_line(self) -> bytes:
        """What HAProxy's agent-check is told now."""
        standing = AGENT_STANDINGS[self.drain.standing]
        if self._probes.draining and standing == "serving":
            standing = "draining"
        return agent_answer(self._look().snapshot, self.node, standing).line

    async def close(self) -> None:
        """End what runs in the background."""
        await self._tasks.close()

    def _turn_away(self, session: Session) -> bool:
        if self.drain.under_way:
            self.drain.turn_away(session)
        return self.drain.under_way

    def _drain_asked(self, note: DrainNote) -> None:
        if note.node != self.node:
            return
        if note.undo:
            self.undo_drain(note.why)
        else:
            self.begin_drain(note.within_s, note.why)

    # Rebalancing ----------------------------------------------------------------------------------------------------

    def plan(self) -> list[Shed]:
        """What every node would send away by this node's picture."""
        return plan(self._picture_now(), self.rule)

    def _picture_now(self) -> Snapshot:
        """With this node's own sessions as they are now: its last report is up to a second old.

        Nobody is moved to a node that fares worse than this one, though it may be ready as yet: a fault must last for
        seconds before it takes a node out, and evening out can wait.
        """
        picture, worse = self._look().snapshot, self._faring_worse()
        addressed = {each.id for each in picture.targets if self._url_to(each.id)}
        own = self._gateway.clients_count
        targets = (
            replace(each, load=replace(each.load, connections=own))
            if each.id == self.node
            else replace(each, out=each.out or "unhealthy")
            if each.id in worse
            else each
            for each in picture.targets
        )
        targets = (replace(each, addressed=each.id in addressed) for each in targets)
        return replace(picture, at=self._clock.monotonic(), targets=tuple(targets))

    def _faring_worse(self) -> set[str]:
        """The nodes that find something failing that this node finds well."""
        own = self._probes.report().failing
        return {view.node for view in self._picture().present if view.report.health.failing - own}

    def _hand(self, decision: Decision) -> Place:
        """The address for a session that is moved, which counts there from now on."""
        url = self._url_to(decision.target)
        if url and decision.target is not None:
            self._director.hand(decision.target, self._clock.monotonic())
        return Place(url, decision.reason)

    def _url_to(self, node: str | None) -> str:
        """Where a session is sent to get to a node: there, or to the balancer in front, which knows the way. Empty:
        nobody has said."""
        picture, front = self._picture(), socket_url(self._config.listen.front_url)
        return endpoint(picture, node) or (front if node is not None and picture.get(node) else "")

    def _rebalancing(self, shed: Shed) -> None:
        self._events.record("rebalance", self.node, shed.why)

    def _rebalance_asked(self, note: RebalanceNote) -> None:
        self.rebalancer.ask()
