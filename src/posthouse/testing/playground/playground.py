"""A whole cluster: its parts, the order in which they come up, and what is done to them by name.

Belongs to one event loop, that of the playground's own process (`serve`).
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from posthouse.app.config.values import Config
from posthouse.app.secrets import DEFAULT_APP, Secrets, load_or_create
from posthouse.auth.keys import api_key_hash
from posthouse.cluster.haproxy import Server
from posthouse.kit.chance import system_random
from posthouse.kit.clock import Clock
from posthouse.testing.faultproxy import Faults
from posthouse.testing.playground.etcd import EtcdMember
from posthouse.testing.playground.haproxy import Haproxy, configuration
from posthouse.testing.playground.network import Network
from posthouse.testing.playground.node import NodeServer
from posthouse.testing.playground.part import Part, PartStatus, Port, State, listens
from posthouse.testing.playground.patroni import (
    DATABASE,
    ROLE,
    Passwords,
    PatroniMember,
    open_database,
    primary_of,
)
from posthouse.testing.playground.plan import MEMBERS_OF_ETCD, SENTINELS, Plan, Refused
from posthouse.testing.playground.programs import Programs
from posthouse.testing.playground.valkey import MASTER, Sentinel, ValkeyServer
from posthouse.testing.ports import free_ports
from posthouse.testing.releases import unpack

DATABASE_TIMEOUT_S = 90.0
POLL_S = 0.1
_REQUEST_TIMEOUT_S = 2.0


class Playground:
    """`programs` are what it runs. All it keeps lies in `folder`, which is also a data folder for `posthouse chat`."""

    def __init__(self, folder: Path, plan: Plan, programs: Programs, clock: Clock) -> None:
        self.folder = folder
        self.plan = plan
        self._programs = programs
        self._release = folder / "release"
        self._clock = clock
        self._ports = free_ports()
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S))
        self._secrets = load_or_create(folder)
        self._network = Network(clock, system_random(), self._roots)
        self._front = self._port("haproxy", plan.port)
        self.etcd = self._build_etcd()
        self.databases = {
            f"database-{chr(ord('a') + number)}": self._build_database(chr(ord("a") + number))
            for number in range(plan.databases)
        }
        self.caches, self.sentinels = self._build_caches()
        self.nodes: list[NodeServer] = []
        for _ in range(plan.nodes):
            self._add_node()
        self.haproxy = self._build_haproxy()

    @property
    def parts(self) -> list[Part]:
        """All of them, in the order in which they are shown."""
        members = [member for database in self.databases.values() for member in database]
        front = [self.haproxy] if self.haproxy is not None else []
        return [*self.etcd, *members, *self.caches, *self.sentinels, *self.nodes, *front]

    @property
    def address(self) -> str:
        """Where clients go: HAProxy, or a node that runs."""
        if self.haproxy is not None and self.haproxy.state is State.RUNNING:
            return f"http://{self.haproxy.port}"
        running = [node for node in self.nodes if node.state is State.RUNNING] or self.nodes
        return running[0].url

    # Life

    async def start(self) -> None:
        """Bring everything up. Raises `PartFailed`, `Refused`, `NoHistory`, OSError or TimeoutError."""
        await self._check_ports()
        if self.plan.release:
            await asyncio.to_thread(unpack, self.plan.release, self._release)
        await self._network.start()
        await asyncio.gather(self._start_databases(), self._start_caches())
        await asyncio.gather(*(node.start() for node in self.nodes))
        if self.haproxy is not None:
            await self.haproxy.start()
        self.tell_address()

    async def close(self) -> None:
        """Let go of connections; the keeper ends the processes."""
        await self._network.close()
        await self._http.close()

    async def status(self) -> list[PartStatus]:
        """Every part as it is now."""
        found = await asyncio.gather(*(part.status() for part in self.parts))
        return [msgspec.structs.replace(each, cut=self._network.cut_of(each.name)) for each in found]

    def tell_address(self) -> None:
        """Let `posthouse chat --data` find a way in."""
        (self.folder / "address").write_text(f"{self.address}\n")

    async def add_node(self) -> NodeServer:
        """One more node, started. HAProxy learns of it when it is started again."""
        node = self._add_node()
        await self._network.start()
        await node.start()
        return node

    async def transactions(self) -> int:
        """How many transactions all primaries have finished since they began to count."""
        primaries = [
            await primary_of(each, self._clock, DATABASE_TIMEOUT_S) for each in self.databases.values()
        ]
        return sum([await each.transactions() for each in primaries])

    # What is done by name

    async def act(self, verb: str, what: str) -> list[Part]:
        """Do one of `VERBS` to what is meant; returns the parts it was done to. Raises `Refused`, `PartFailed`."""
        possible, refusal = _POSSIBLE[verb]
        meant = await self.meant(what)
        parts = [part for part in meant if part.state in possible]
        if not parts:
            raise Refused(
                f"{', '.join(part.name for part in meant)} {refusal}.", "See `posthouse cluster status`."
            )
        if verb == "kill":
            await asyncio.gather(*(part.kill() for part in parts))
        elif verb == "stop":
            await asyncio.gather(*(part.stop() for part in parts))
        elif verb == "start":
            await self._start_again(parts)
        for part in parts:
            if verb == "pause":
                part.pause()
            elif verb == "resume":
                part.resume()
        self.tell_address()
        return parts

    async def cut(self, what: str, way: str) -> list[Part]:
        """Cut hosts off from all others and from clients; `way` is `both`, `in` or `out`. Raises `Refused`."""
        parts = await self._behind_proxies(what)
        for part in parts:
            await self._network.cut(part.name, "in" if way == "in" else "out" if way == "out" else "both")
        return parts

    async def slow(self, what: str, latency_ms: float, bytes_per_s: float) -> list[Part]:
        """Give hosts a slow network. Raises `Refused`."""
        parts = await self._behind_proxies(what)
        for part in parts:
            await self._network.slow(part.name, Faults(latency_ms=latency_ms, bytes_per_s=bytes_per_s))
        return parts

    async def heal(self, what: str) -> list[Part]:
        """Undo `cut` and `slow`; what was held back is delivered. Raises `Refused`."""
        parts = [part for part in await self._behind_proxies(what) if self._network.cut_of(part.name)]
        for part in parts:
            await self._network.heal(part.name)
        if not parts:
            raise Refused(f"{what} is not cut off.", "See `posthouse cluster status`.")
        return parts

    async def cut_from(self, what: str, others: Sequence[str], way: str) -> list[Part]:
        """Cut hosts off from some others only; `way` as seen by the first ones. Raises `Refused`."""
        parts = await self._behind_proxies(what)
        names = [each.name for other in others for each in await self.meant(other)]
        for part in parts:
            await self._network.cut_from(
                part.name, names, "in" if way == "in" else "out" if way == "out" else "both"
            )
        return parts

    async def reset(self, what: str, *, told: bool) -> list[Part]:
        """End all connections of hosts at once; not `told`: whoever began one is not. Raises `Refused`."""
        parts = await self._behind_proxies(what)
        for part in parts:
            await (self._network.reset(part.name) if told else self._network.half_open(part.name))
        return parts

    async def upgrade(self, what: str) -> list[Part]:
        """Stop a node and start it with the code of this process."""
        parts = await self.meant(what)
        for node in parts:
            if isinstance(node, NodeServer):
                await node.stop()
                node.source = ""
                await node.start()
        return parts

    async def hang(self, what: str) -> list[Part]:
        """Freeze one worker of nodes that have several. Raises `Refused`."""
        parts = await self.meant(what)
        for node in parts:
            if isinstance(node, NodeServer):
                node.hang()
        return parts

    async def disk(self, what: str, verb: str, delay_ms: float = 0.0) -> list[Part]:
        """Do something to the disks of databases' hosts: `fill`, `free`, `slow` or `mend`. Raises `Refused`."""
        hosts = [part for part in await self.meant(what) if isinstance(part, PatroniMember)]
        for host in hosts:
            if verb == "fill":
                await asyncio.to_thread(host.fill_disk)
            elif verb == "free":
                await asyncio.to_thread(host.free_disk)
            elif verb == "slow":
                await host.slow_disk(delay_ms)
            else:
                await host.mend_disk()
        return list(hosts)

    async def _behind_proxies(self, what: str) -> list[Part]:
        if not self.plan.proxied:
            raise Refused(
                "This cluster's network has no fault proxies.",
                "Bring it up with --proxied; `pause` freezes a host in any cluster.",
            )
        return await self.meant(what)

    async def meant(self, what: str) -> list[Part]:
        """The parts that a person means: a name, a group, or a group and a role. Raises `Refused`."""
        words = what.lower().replace("_", "-").strip()
        named = [part for part in self.parts if part.name == words]
        if named:
            return named
        group, _, role = words.partition(" ")
        of_group = [part for part in self.parts if part.group in (group, group.removesuffix("s"))]
        if of_group and not role:
            return of_group
        if of_group and role.strip() in _ROLES:
            wanted = _ROLES[role.strip()]
            statuses = await asyncio.gather(*(part.status() for part in of_group))
            found = [part for part, status in zip(of_group, statuses, strict=True) if status.role in wanted]
            if found:
                return found[:1]
            raise Refused(f"{group} has no {role.strip()} now.", "See `posthouse cluster status`.")
        raise Refused(f"There is no {what!r}.", f"There are: {', '.join(self._names())}.")

    def _names(self) -> Iterator[str]:
        groups: dict[str, list[str]] = {}
        for part in self.parts:
            groups.setdefault(part.group, []).append(part.name)
        for group, names in groups.items():
            yield from names
            if len(names) > 1:
                yield group
            if group.startswith(("database", "cache")):
                yield from (f"{group} primary", f"{group} replica")

    async def _start_again(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if isinstance(part, ValkeyServer):
                part.primary = await self._cache_primary(part)
        first = [part for part in parts if isinstance(part, ValkeyServer) and part.primary is None]
        await asyncio.gather(*(part.start() for part in first))
        await asyncio.gather(*(part.start() for part in parts if part not in first))

    async def _cache_primary(self, server: ValkeyServer) -> Port | None:
        """Whom a server that comes back follows, as the sentinels see it; None when it is to be the primary itself."""
        for sentinel in self.sentinels:
            public = await sentinel.primary_port() if sentinel.state is State.RUNNING else 0
            for each in self.caches:
                if each.port.public == public:
                    return None if each is server else each.port
        return None if server is self.caches[0] else self.caches[0].port

    # Coming up

    async def _start_databases(self) -> None:
        await asyncio.gather(*(member.start() for member in self.etcd))
        await asyncio.gather(*(self._start_database(members) for members in self.databases.values()))

    async def _start_database(self, members: list[PatroniMember]) -> None:
        first, *others = members
        await first.start()
        await primary_of([first], self._clock, DATABASE_TIMEOUT_S)
        await asyncio.gather(*(member.start() for member in others))
        await open_database(members, self._clock, DATABASE_TIMEOUT_S)
        async with asyncio.timeout(DATABASE_TIMEOUT_S):
            while not await _whole(members):
                await self._clock.sleep(POLL_S)
        await first.calm()

    async def _start_caches(self) -> None:
        first, *others = self.caches
        await first.start()
        await asyncio.gather(*(part.start() for part in others))
        await asyncio.gather(*(part.start() for part in self.sentinels))

    async def _check_ports(self) -> None:
        """Those that a person has chosen must be free: a server that ends for it says so less clearly."""
        front = [self.haproxy] if self.haproxy is not None else []
        for part in [*self.nodes, *front]:
            if self.plan.port and await listens(part.port.public):
                raise Refused(
                    f"Port {part.port.public} of this machine is taken, and {part.name} is to listen there.",
                    "Give another one with --port; it and the next ones must be free. --port 0 takes free ones.",
                )

    # Building

    def _port(self, name: str, chosen: int = 0) -> Port:
        """Of a server of the host `name`: a free one, or the one chosen for it, where the others reach it."""
        public = chosen or next(self._ports)
        if not self.plan.proxied:
            return Port(public, public)
        return self._network.before(name, next(self._ports), public)

    def _roots(self) -> dict[int, str]:
        """The first processes of every host."""
        started = {part.pid: part.name for part in self.parts if part.pid}
        return started | {each.pid: part.name for part in self.parts for each in part.extra_processes()}

    def _build_etcd(self) -> list[EtcdMember]:
        names = [f"etcd-{number}" for number in range(1, MEMBERS_OF_ETCD + 1)]
        members = [
            EtcdMember(
                name,
                self.folder / name,
                self._port(name),
                self._port(name),
                self._clock,
                program=self._programs.etcd,
                http=self._http,
            )
            for name in names
        ]
        for member in members:
            member.members = {each.name: each.peer_port for each in members}
        return members

    def _build_database(self, letter: str) -> list[PatroniMember]:
        scope = f"database-{letter}"
        passwords = Passwords(*(f"{system_random().getrandbits(128):032x}" for _ in range(3)))
        return [
            PatroniMember(
                name,
                scope,
                self.folder / name,
                self._port(name),
                self._port(name),
                self._clock,
                binaries=self._programs.postgres,
                passwords=passwords,
                etcd=[str(member.port) for member in self.etcd],
                http=self._http,
                disk_mib=self.plan.disks.get(name, 0),
            )
            for name in (f"{scope}-{number}" for number in range(1, self.plan.replicas + 2))
        ]

    def _build_caches(self) -> tuple[list[ValkeyServer], list[Sentinel]]:
        program = self._programs.valkey
        caches = [
            ValkeyServer(name, self.folder / name, self._port(name), self._clock, program=program)
            for name in (f"cache-{number}" for number in range(1, self.plan.caches + 1))
        ]
        for each in caches[1:]:
            each.primary = caches[0].port
        sentinels = [
            Sentinel(
                name,
                self.folder / name,
                self._port(name),
                self._clock,
                program=program,
                primary=caches[0].port,
                quorum=SENTINELS // 2 + 1,
            )
            for name in (f"sentinel-{number}" for number in range(1, SENTINELS + 1))
        ]
        return caches, sentinels

    def _add_node(self) -> NodeServer:
        number = len(self.nodes) + 1
        name = f"node-{number}"
        port, agent_port = self._node_ports(name, number)
        node = NodeServer(
            name,
            self.folder / name,
            port,
            agent_port,
            self._clock,
            settings=self._node_settings,
            http=self._http,
            workers=self.plan.workers,
            source=str(self._release / "src") if self.plan.release else "",
        )
        node.clock_off_s = self.plan.clocks.get(name, 0.0)
        self.nodes.append(node)
        return node

    def _node_ports(self, name: str, number: int) -> tuple[Port, Port]:
        """Its own and its agent's. Workers share the first, and have the ones after it, and after the second, each."""
        workers = self.plan.workers
        if not workers:
            return self._port(name, self.plan.port + number if self.plan.port else 0), self._port(name)
        found = [next(self._ports)]
        while len(found) <= 2 * workers:
            following = next(self._ports)
            found = [*found, following] if following == found[-1] + 1 else [following]
        return Port(found[0], found[0]), Port(found[workers + 1], found[workers + 1])

    def _build_haproxy(self) -> Haproxy | None:
        if self._programs.haproxy is None or not self.plan.haproxy:
            return None
        return Haproxy(
            self.folder / "haproxy",
            self._front,
            self._clock,
            program=self._programs.haproxy,
            render=self._haproxy_configuration,
        )

    def _haproxy_configuration(self) -> str:
        nodes = [
            Server(node.name, "127.0.0.1", node.port.public, node.agent_port.public) for node in self.nodes
        ]
        return configuration(self._front.listen, nodes)

    # What the nodes are told

    def _node_settings(self, node: NodeServer) -> dict[str, Any]:
        secrets: Secrets = self._secrets
        key = {"kid": secrets.kid, "alg": "HS256", "secret": secrets.secret}
        urls = {name.removeprefix("database-"): self.database_url(name) for name in self.databases}
        tables: dict[str, Any] = {
            "listen": {"host": "127.0.0.1", "port": node.port.listen, "public_url": node.url},
            "data": {"folder": str(node.folder / "data")},
            "node": {"name": node.name},
            "agent": {"port": node.agent_port.listen},
            "cache": {"url": self.cache_url},
            "auth": {"resume_secret": secrets.resume_secret},
            "apps": {DEFAULT_APP: {"api_key_hashes": [api_key_hash(secrets.api_key)], "keys": [key]}},
        }
        if _knows("databases") and len(urls) > 1:
            tables["databases"] = {name: {"url": url} for name, url in urls.items()}
        else:
            tables["database"] = {"url": next(iter(urls.values()))}
        for key_, value in self.plan.settings.items():
            room, _, name = key_.rpartition(".")
            tables.setdefault(room, {})[name] = value
        return tables

    def database_url(self, name: str) -> str:
        """A multi-host address: whoever is primary is found among them."""
        members = self.databases[name]
        hosts = ",".join(str(member.port) for member in members)
        secret = members[0].service_password
        return f"postgresql://{ROLE}:{secret}@{hosts}/{DATABASE}"

    @property
    def cache_url(self) -> str:
        """Where the sentinels are, who know the primary."""
        return f"redis+sentinel://{','.join(str(each.port) for each in self.sentinels)}/{MASTER}"


_RUNS = (State.RUNNING, State.STARTING)
_POSSIBLE: dict[str, tuple[tuple[State, ...], str]] = {
    "start": ((State.KILLED, State.STOPPED, State.ENDED, State.WAITING), "runs already"),
    "stop": ((*_RUNS, State.PAUSED), "does not run"),
    "kill": ((*_RUNS, State.PAUSED), "does not run"),
    "pause": (_RUNS, "does not run"),
    "resume": ((State.PAUSED,), "is not paused"),
}
VERBS = tuple(_POSSIBLE)
_ROLES = {
    "primary": ("primary",),
    "leader": ("leader",),
    "follower": ("follower",),
    "replica": ("sync standby", "replica"),
    "sync": ("sync standby",),
    "sync standby": ("sync standby",),
}


async def _whole(members: Sequence[PatroniMember]) -> bool:
    """A primary, a synchronous standby, and everybody else streaming."""
    told = [await member.describe() for member in members]
    roles = [role for role, _, _ in told]
    return (
        all(healthy for _, healthy, _ in told)
        and "primary" in roles
        and (len(members) == 1 or "sync standby" in roles)
    )


def _knows(room: str) -> bool:
    """Whether nodes of this version have such a room in their configuration."""
    return room in Config.__struct_fields__
