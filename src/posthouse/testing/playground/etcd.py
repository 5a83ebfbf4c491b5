"""One member of the etcd cluster in which Patroni agrees on who is primary."""

from collections.abc import Sequence
from pathlib import Path

import aiohttp

from posthouse.kit.clock import Clock
from posthouse.testing.playground.part import Part, Port


class EtcdMember(Part):
    """`members` are all of them by name, with the port that the others of the cluster speak to."""

    def __init__(
        self,
        name: str,
        folder: Path,
        port: Port,
        peer_port: Port,
        clock: Clock,
        *,
        program: Path,
        http: aiohttp.ClientSession,
    ) -> None:
        super().__init__(name, "etcd", folder, port, clock)
        self.peer_port = peer_port
        self.members: dict[str, Port] = {}
        self._program = program
        self._http = http

    def command(self) -> Sequence[str | Path]:
        cluster = ",".join(f"{name}=http://{port}" for name, port in self.members.items())
        return (
            self._program,
            *("--name", self.name),
            *("--data-dir", self.folder / "data"),
            *("--listen-client-urls", f"http://127.0.0.1:{self.port.listen}"),
            *("--advertise-client-urls", f"http://{self.port}"),
            *("--listen-peer-urls", f"http://127.0.0.1:{self.peer_port.listen}"),
            *("--initial-advertise-peer-urls", f"http://{self.peer_port}"),
            *("--initial-cluster", cluster),
            *("--initial-cluster-token", "posthouse-playground"),
            *("--heartbeat-interval", "200"),  # on one busy machine the default 100 elects needlessly
            *("--election-timeout", "1000"),  # a split vote still fits into Patroni's retry_timeout
            *("--auto-compaction-retention", "1h"),
            *("--log-level", "warn"),
        )

    async def ready(self) -> bool:
        try:
            async with self._http.get(f"http://127.0.0.1:{self.port.listen}/health") as answer:
                return bool((await answer.json(content_type=None)).get("health") == "true")
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False

    async def describe(self) -> tuple[str, bool, str]:
        url = f"http://127.0.0.1:{self.port.listen}/v3/maintenance/status"
        try:
            async with self._http.post(url, json={}) as answer:
                told = await answer.json(content_type=None)
        except (aiohttp.ClientError, ValueError):
            return "", False, "does not answer"
        leads = told.get("leader") == told.get("header", {}).get("member_id")
        return "leader" if leads else "follower", await self.ready(), ""
