"""The node's health, wired: what probes are told of the peers, where canaries live, what remedies do. Wiring only."""

import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from posthouse.app.balancing import Balancing
from posthouse.app.config.values import Config
from posthouse.app.ports import Ports
from posthouse.auth.keys import Algorithm, AppKeys, SigningKey, new_secret
from posthouse.auth.tokens import TokenIssuer
from posthouse.balance.report import LoadReport, snapshot_of
from posthouse.cluster.events import Events
from posthouse.cluster.lease import Claim
from posthouse.cluster.snapshot import ClusterSnapshot, Presence
from posthouse.gateway.gateway import Gateway
from posthouse.gateway.listener import SOCKET_PATH
from posthouse.health.attendant import Attendant
from posthouse.health.canary import Nest
from posthouse.health.detector import Verdict
from posthouse.health.probes import Probes
from posthouse.health.readiness import Part
from posthouse.health.remedies import MOVED_SHARE, Action, Remedy, RemedyRule, Symptoms
from posthouse.health.report import CANARY_APP, FAILED, OK, Peer
from posthouse.health.vitals import Vitals
from posthouse.kit.clock import Clock
from posthouse.model.conversation import Kind, Role
from posthouse.model.ids import account_id
from posthouse.storage.base import Append, Create, Outcome, Refused, StorageUnavailable, Trimming
from posthouse.storage.changes import kind_of

NESTS_TRIED_MAX: Final = 10_000
DRAIN_WITHIN_S: Final = 10.0
SHED_RETRY_S: Final = 5.0
FREE_BELOW: Final = 0.8
"""A node with less load than that takes sessions of others."""


def peers(picture: ClusterSnapshot, own: str) -> list[Peer]:
    """The other nodes as health sees them. What is not known for certain now is not fresh."""
    return [
        Peer(
            view.node,
            view.report.api_url,
            view.report.health,
            fresh=picture.known and view.presence is Presence.LIVE,
            draining=view.report.draining,
        )
        for view in picture.present
        if view.node != own
    ]


def replica_parts(ports: Ports) -> Iterator[Part]:
    """What engines say of the hosts behind them that are not the primary, where there are several."""
    for name, database in ports.databases.items():
        hosts: Sequence[Any] = getattr(database, "hosts", tuple)()
        for state in hosts if len(hosts) > 1 else ():
            if state.role != "primary":
                well = state.role == "standby" and not state.why
                yield Part(
                    f"replica {name}/{state.host.name}", OK if well else FAILED, f"the replica {state}"
                )


def utilisation(load: LoadReport) -> float:
    """How full the scarcest resource of a node is."""
    return snapshot_of([replace(load, at=0.0)], 0.0).targets[0].utilisation


def overload(vitals: Vitals) -> float:
    """How near a node is to serving nobody: its memory, or its event loop's lag in seconds.

    Not its CPU: a busy node that answers in time is not overloaded, least of all while everybody comes back at once.
    """
    return max(vitals.memory, vitals.loop_lag_ms / 1000)


class CanaryKeeper:
    """What canaries need of this node. Their key is made here and known to nobody else."""

    def __init__(
        self,
        node: str,
        ports: Ports,
        append: Callable[[Append], Awaitable[Outcome]],
        clock: Clock,
        *,
        address: Callable[[], str],
        tls: Callable[[], ssl.SSLContext | None],
        grounded: Callable[[], bool],
        token_ttl_s: int,
    ) -> None:
        """`address` is host and port of the node's own listener, `tls` whom to trust there, None where none is spoken.
        A session ends with its token, and is opened anew."""
        key = SigningKey(kid="canary", algorithm=Algorithm.HS256, secret=new_secret())
        self.keys: Mapping[str, AppKeys] = {CANARY_APP: AppKeys(signing=(key,), api_key_hashes=())}
        self.grounded = grounded
        self.tls = tls
        self._issuer = TokenIssuer(self.keys)
        self._node = node
        self._ports = ports
        self._append = append
        self._clock = clock
        self._address = address
        self._token_ttl_s = token_ttl_s

    def url(self) -> str:
        """Through the node's own port, past all balancers."""
        return f"{'ws' if self.tls() is None else 'wss'}://{self._address()}{SOCKET_PATH.decode()}"

    def token(self, user: str) -> str:
        """As long as tokens may live."""
        now_s = self._clock.now_ms() // 1000
        return self._issuer.issue(CANARY_APP, user, now_s=now_s, ttl_s=self._token_ttl_s)

    def nests(self) -> Mapping[str, Nest]:
        """For each database the first user and the first conversation of this node that lie there now."""
        return {
            name: Nest(user, conv)
            for name in self._ports.databases
            if (user := self._first(name, account_id)) and (conv := self._first(name, str))
        }

    async def furnish(self, nest: Nest) -> None:
        """Creating what is there already is answered as a duplicate."""
        create = Create(kind=Kind.GROUP, members=((nest.user, Role.MEMBER),))
        outcome = await self._append(
            Append(
                app=CANARY_APP,
                conv=nest.conv,
                kind=kind_of(create),
                client_id="nest",
                made_at_ms=0,
                body=b"{}",
                change=create,
                trusted=True,
            )
        )
        if isinstance(outcome, Refused):
            raise StorageUnavailable(outcome.reason)

    async def trim(self, nest: Nest, first_seq: int) -> None:
        """Cut the log back, where the engine can."""
        database = self._ports.databases[self._ports.owner(CANARY_APP, nest.conv)]
        if isinstance(database, Trimming):
            await database.trim(CANARY_APP, nest.conv, first_seq)

    def _first(self, database: str, log: Callable[[str], str]) -> str:
        for number in range(NESTS_TRIED_MAX):
            name = f"{self._node}.{number}"
            if self._ports.owner(CANARY_APP, log(name)) == database:
                return name
        return ""  # no shard lies there yet


class Tending:
    """Sees to the health of one node. `loops` run in the background."""

    def __init__(
        self,
        config: Config,
        gateway: Gateway,
        probes: Probes,
        balancing: Balancing,
        events: Events,
        permit: Claim,
        picture: Callable[[], ClusterSnapshot],
        vitals: Callable[[], Vitals],
        clock: Clock,
    ) -> None:
        self.restart: Callable[[str], None] | None = None
        """Ends this process so that somebody starts it again; None: nobody would."""
        self._node = gateway.node
        self._gateway = gateway
        self._probes = probes
        self._balancing = balancing
        self._picture = picture
        self._vitals = vitals
        self._events = events
        self._clock = clock
        remedies = config.remedies
        self.attendant = Attendant(
            self.symptoms,
            self,
            permit,
            self._audit,
            clock,
            RemedyRule(
                shed_above=remedies.shed_above,
                admit_below=min(0.8, remedies.shed_above * 0.85),
                drain_after_s=remedies.drain_after_s,
                restart_after_s=remedies.restart_after_s,
            ),
            acts=remedies.mode == "act",
            per_hour=remedies.per_hour,
        )
        probes.peers = lambda: peers(self._picture(), self._node)
        probes.on_change = lambda readiness: self._saw(readiness.ready, readiness.reason)
        probes.on_verdict = self._judged

    def symptoms(self) -> Symptoms:
        """This node and what there is beside it, now."""
        wellness = self._probes.wellness()
        others = [view for view in self._picture().present if view.node != self._node]
        ready = [view for view in others if view.takes_clients]
        free = [view for view in ready if utilisation(view.report.load) < FREE_BELOW]
        return Symptoms(
            utilisation=overload(self._vitals()),
            sick="" if wellness.ready else wellness.reason,
            others=len(others),
            others_ready=len(ready),
            others_free=len(free),
            restartable=self.restart is not None,
        )

    def apply(self, remedy: Remedy) -> None:
        """Do what was decided."""
        match remedy.action:
            case Action.SHED:
                self._gateway.admission.shed_s = SHED_RETRY_S
            case Action.ADMIT:
                self._gateway.admission.shed_s = 0.0
            case Action.MOVE:
                self._balancing.move(MOVED_SHARE, remedy.why)
            case Action.DRAIN:
                self._balancing.begin_drain(DRAIN_WITHIN_S, remedy.why)
            case Action.UNDRAIN:
                self._balancing.undo_drain(remedy.why)
            case Action.RESTART if self.restart is not None:
                self.restart(remedy.why)

    def _audit(self, remedy: Remedy, dry_run: bool) -> None:
        self._events.record(f"remedy:{remedy.action}", self._node, remedy.why, dry_run=dry_run)

    def _judged(self, subject: str, verdict: Verdict) -> None:
        """What this node thinks of others stays with it: they all look for themselves."""
        self._events.record("verdict", subject, f"{verdict.state}: {verdict.reason}", shared=False)

    def _saw(self, ready: bool, reason: str) -> None:
        self._events.record("readiness", self._node, f"{'ready' if ready else 'not ready'}: {reason}")
