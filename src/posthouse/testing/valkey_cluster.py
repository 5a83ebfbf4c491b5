"""A real Cluster on loopback: blocking, and never outliving its owner, as `LocalValkey`."""

from pathlib import Path
from typing import Self

from posthouse.testing.ports import free_ports
from posthouse.testing.valkey import LocalValkey, follows, is_primary, until
from posthouse.valkey.cluster import SLOTS, slot_of


class LocalValkeyCluster:
    """A Cluster of primaries, each with replicas. A context manager, as `LocalValkey` is.

    A killed server that is started again finds its place by itself.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        primaries: int = 3,
        replicas: int = 1,
        node_timeout_ms: int = 1_000,
        password: str = "",
    ) -> None:
        self._primaries_count = primaries
        self.servers = [
            LocalValkey(
                folder and folder / f"server-{number}",
                settings={
                    "cluster-enabled": "yes",
                    "cluster-config-file": "nodes.conf",
                    "cluster-node-timeout": node_timeout_ms,
                    "cluster-port": next(free_ports()),
                    "cluster-require-full-coverage": "no",
                    "repl-diskless-sync-delay": 0,
                },
                password=password,
            )
            for number in range(primaries * (1 + replicas))
        ]

    def __repr__(self) -> str:
        return f"<LocalValkeyCluster at {self.url}>"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address to give to clients."""
        password = self.servers[0].password
        places = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://{password and f':{password}@'}{places}"

    def start(self) -> None:
        """Form the Cluster, the first time; return once every slot has a primary and every replica follows."""
        fresh = not any((server.folder / "nodes.conf").exists() for server in self.servers)
        for server in self.servers:
            server.start()
        if fresh:
            self._form()
        self._wait_whole()

    def primary_of(self, key: bytes) -> LocalValkey:
        """The server that has `key`, as the servers that run see it."""
        slot = slot_of(key)
        for first, last, primary, *_ in self._asked().call("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return self._at(primary[1])
        raise LookupError(f"slot {slot} is on no server")

    def replica_of(self, primary: LocalValkey) -> LocalValkey:
        """A server that follows `primary`."""
        return next(
            server
            for server in self.servers
            if server.running
            and server.call("ROLE")[0] == b"slave"
            and server.call("ROLE")[2] == primary.port
        )

    def failover(self, primary: LocalValkey) -> LocalValkey:
        """Make a replica of `primary` its successor, as an operator would; return it once all see it so."""
        replica = self.replica_of(primary)
        replica.call("CLUSTER", "FAILOVER")
        self.wait_failover(primary)
        return replica

    def wait_failover(self, before: LocalValkey) -> None:
        """Return once no server that runs sees `before` as a primary, and every slot has one."""
        until(
            lambda: all(self._is_over(s, before) for s in self._running(before)), "the Cluster to fail over"
        )

    def move_slot(self, slot: int, target: LocalValkey) -> None:
        """Give a slot, with its keys, to another primary."""
        source = next(s for s in map(self._at, self._ports_of(slot)))
        target_id, source_id = target.call("CLUSTER", "MYID"), source.call("CLUSTER", "MYID")
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while keys := source.call("CLUSTER", "GETKEYSINSLOT", slot, 100):
            secret = ("AUTH", source.password) if source.password else ()
            source.call("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, *secret, "KEYS", *keys)
        for server in (target, source):
            server.call("CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def mend(self) -> None:
        """Bring back what was killed or frozen; return once every slot has a primary and every replica follows."""
        for server in self.servers:
            if server.running:
                server.thaw()
            else:
                server.start()
        self._wait_whole()

    def wipe(self) -> None:
        """Everything is lost at once; connections stay."""
        for server in self.servers:
            if server.running and is_primary(server):
                server.wipe()

    def close(self) -> None:
        """Kill everything, and remove temporary folders. May be called twice."""
        for server in self.servers:
            server.close()

    def _wait_whole(self) -> None:
        until(
            lambda: all(b"cluster_state:ok" in s.call("CLUSTER", "INFO") for s in self.servers), "all slots"
        )
        until(lambda: all(follows(s) or is_primary(s) for s in self.servers), "the replicas to follow")
        until(lambda: len({self._map(server) for server in self.servers}) == 1, "all to see the same")

    def _map(self, asked: LocalValkey) -> tuple[tuple[int, int, int], ...]:
        slots = asked.call("CLUSTER", "SLOTS")
        return tuple(sorted((first, last, primary[1]) for first, last, primary, *_ in slots))

    def _form(self) -> None:
        primaries, replicas = self.servers[: self._primaries_count], self.servers[self._primaries_count :]
        share = SLOTS / len(primaries)
        for number, server in enumerate(primaries):
            server.call("CLUSTER", "ADDSLOTSRANGE", round(number * share), round((number + 1) * share) - 1)
        for number, server in enumerate(self.servers):
            server.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            first = self.servers[0]
            if server is not first:
                server.call("CLUSTER", "MEET", "127.0.0.1", first.port, first.settings["cluster-port"])
        until(
            lambda: all(
                f"cluster_known_nodes:{len(self.servers)}\r".encode() in server.call("CLUSTER", "INFO")
                for server in self.servers
            ),
            "the servers to meet",
        )
        for number, server in enumerate(replicas):
            self._follow(server, primaries[number % len(primaries)].call("CLUSTER", "MYID"))

    def _follow(self, server: LocalValkey, primary: bytes) -> None:
        until(lambda: bool(server.call("CLUSTER", "REPLICATE", primary) == b"OK"), "a primary to be known")

    def _is_over(self, asked: LocalValkey, before: LocalValkey) -> bool:
        slots = asked.call("CLUSTER", "SLOTS")
        covered = sum(last - first + 1 for first, last, *_ in slots)
        return covered == SLOTS and all(primary[1] != before.port for _, _, primary, *_ in slots)

    def _running(self, but: LocalValkey) -> list[LocalValkey]:
        return [server for server in self.servers if server.running and server is not but]

    def _asked(self) -> LocalValkey:
        return next(server for server in self.servers if server.running)

    def _ports_of(self, slot: int) -> list[int]:
        slots = self._asked().call("CLUSTER", "SLOTS")
        return [primary[1] for first, last, primary, *_ in slots if first <= slot <= last]

    def _at(self, port: int) -> LocalValkey:
        return next(server for server in self.servers if server.port == port)
