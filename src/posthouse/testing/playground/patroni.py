"""One PostgreSQL under Patroni: a host of a database, primary or replica as Patroni decides.

Synchronous mode, strict: what is acknowledged is on a second machine, or it is not acknowledged (G1, G6).
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import psutil

from posthouse.kit.clock import Clock
from posthouse.testing.playground import disks
from posthouse.testing.playground.disks import SlowDisk, on_small_disk
from posthouse.testing.playground.part import Part, Port, State, written
from posthouse.testing.playground.plan import Refused

DATABASE = "posthouse"
ROLE = "posthouse"
SUPERUSER = "postgres"
REPLICATOR = "replicator"
LOOP_WAIT_S = 5
LOOP_WAIT_STARTING_S = 1
"""While the cluster comes up, Patroni looks each second: a replica becomes synchronous as soon as it can."""

_SETTINGS: dict[str, object] = {
    "max_connections": 200,
    "shared_buffers": "48MB",
    "max_wal_size": "256MB",
    "min_wal_size": "64MB",
    "wal_keep_size": "64MB",
    "wal_level": "replica",
    "wal_log_hints": "on",  # pg_rewind needs it to take a former primary back in
    "max_wal_senders": 10,
    "max_replication_slots": 10,
    "max_worker_processes": 4,
    "max_parallel_workers": 2,
    "hot_standby": "on",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_sender_timeout": "4s",  # a frozen standby is noticed in 4 s, and replaced in Patroni's next round
    "wal_receiver_timeout": "6s",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "500ms",
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 2,
    "checkpoint_timeout": "10min",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # in the data folder: what a killed server leaves goes with it
    "jit": "off",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}


class Passwords(NamedTuple):
    """Of a database's roles."""

    superuser: str
    replicator: str
    service: str


class PatroniMember(Part):
    """`scope` is the database that it serves; `etcd` are the addresses of the etcd members."""

    def __init__(
        self,
        name: str,
        scope: str,
        folder: Path,
        port: Port,
        api_port: Port,
        clock: Clock,
        *,
        binaries: Path,
        passwords: Passwords,
        etcd: Sequence[str],
        http: aiohttp.ClientSession,
        disk_mib: int = 0,
    ) -> None:
        super().__init__(name, scope, folder, port, clock)
        self.api_port = api_port
        self.data = folder / "data"
        self._disk_mib = disk_mib
        self._slow_disk = SlowDisk(clock)
        self._binaries = binaries
        self._passwords = passwords
        self._etcd = etcd
        self._http = http

    def command(self) -> Sequence[str | Path]:
        command = (sys.executable, "-m", "patroni", self.folder / "patroni.json")
        return on_small_disk(command, self.data, self._disk_mib) if self._disk_mib else command

    def environment(self) -> Mapping[str, str]:
        return {"LC_ALL": "C"}

    def prepare(self) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        written(
            self.folder / "patroni.json",
            msgspec.json.format(msgspec.json.encode(self._settings()), indent=2).decode(),
        )

    async def ready(self) -> bool:
        told = await self.told()
        return told.get("state") in ("running", "streaming") and not told.get("pause", False)

    async def describe(self) -> tuple[str, bool, str]:
        told = await self.told()
        state = told.get("state", "does not answer")
        role = "primary" if told.get("role") in ("primary", "master") else "replica"
        if told.get("sync_standby") or told.get("quorum_standby"):
            role = "sync standby"
        replication = told.get("replication_state", "")
        healthy = state in ("running", "streaming") and (role == "primary" or replication == "streaming")
        detail = "" if healthy and role != "primary" else f"{state} {replication}".strip()
        timeline = f"timeline {told['timeline']}" if "timeline" in told else ""
        return (
            role if told else "",
            healthy,
            " ".join(part for part in (detail if not healthy else "", timeline) if part),
        )

    async def told(self) -> dict[str, Any]:
        """What Patroni's REST API says of this member; nothing when it does not answer."""
        try:
            async with self._http.get(f"http://127.0.0.1:{self.api_port.listen}/patroni") as answer:
                return dict(await answer.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}

    async def calm(self) -> None:
        """The cluster is up: look as often as in production."""
        url = f"http://127.0.0.1:{self.api_port.listen}/config"
        async with self._http.patch(url, json={"loop_wait": LOOP_WAIT_S}) as answer:
            answer.raise_for_status()

    @property
    def service_password(self) -> str:
        """Of the role that nodes connect as."""
        return self._passwords.service

    def superuser_dsn(self, database: str = "postgres") -> str:
        """For the playground's own work in this member."""
        return f"postgresql://{SUPERUSER}:{self._passwords.superuser}@127.0.0.1:{self.port.listen}/{database}"

    async def transactions(self) -> int:
        """How many transactions it has finished in the service's database; a second or so behind."""
        import asyncpg

        connection = await asyncpg.connect(self.superuser_dsn())
        try:
            query = "select xact_commit + xact_rollback from pg_stat_database where datname = $1"
            return int(await connection.fetchval(query, DATABASE))
        finally:
            await connection.close()

    def extra_processes(self) -> list[psutil.Process]:
        """PostgreSQL is no child of Patroni's: it is to survive Patroni's restart."""
        try:
            pid = int((self.disk / "postmaster.pid").read_text().splitlines()[0])
            server = psutil.Process(pid)
            mine = str(self.data) in " ".join(server.cmdline())
        except (OSError, ValueError, IndexError, psutil.Error):
            return []
        return [server] if mine else []

    # Its disk

    @property
    def disk(self) -> Path:
        """Where the data lies, as seen from outside the host."""
        return Path(f"/proc/{self.pid}/root{self.data}") if self._disk_mib else self.data

    def fill_disk(self) -> None:
        """Take all the room there is. Raises `Refused` when others would have to do without it too."""
        if not self._disk_mib:
            raise Refused(f"{self.name} has no disk of its own.")
        disks.fill(self.disk)

    def free_disk(self) -> None:
        """Give that room back."""
        disks.free(self.disk)

    async def slow_disk(self, delay_ms: float) -> None:
        """Delay every fsync, until `mend_disk`. Raises `Refused`."""
        server = self.extra_processes()
        pids = [process.pid for root in server for process in (root, *root.children(recursive=True))]
        await self._slow_disk.begin(pids, delay_ms)

    async def mend_disk(self) -> None:
        """As fast as before."""
        await self._slow_disk.end()

    def _settings(self) -> dict[str, object]:
        return {
            "scope": self.group,
            "namespace": "/posthouse/",
            "name": self.name,
            "restapi": {
                "listen": f"127.0.0.1:{self.api_port.listen}",
                "connect_address": str(self.api_port),
            },
            "etcd3": {"hosts": list(self._etcd)},
            "bootstrap": {
                "dcs": {
                    "ttl": 20,
                    "loop_wait": LOOP_WAIT_STARTING_S,
                    "retry_timeout": 5,
                    "failsafe_mode": True,  # while etcd elects, a primary goes on that all members agree to
                    "maximum_lag_on_failover": 1 << 20,
                    "primary_start_timeout": 0,  # a crashed primary is not waited for: a standby takes over
                    "synchronous_mode": True,
                    "synchronous_mode_strict": True,
                    "synchronous_node_count": 1,
                    "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": _SETTINGS},
                },
                "initdb": _initdb(self._binaries),
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port.listen}",
                "connect_address": str(self.port),
                "data_dir": str(self.data),
                "bin_dir": str(self._binaries),
                "pgpass": str(self.folder / "pgpass"),
                "use_unix_socket": False,
                "authentication": {
                    "superuser": {"username": SUPERUSER, "password": self._passwords.superuser},
                    "replication": {"username": REPLICATOR, "password": self._passwords.replicator},
                },
                "pg_hba": [
                    "host all all 127.0.0.1/32 scram-sha-256",
                    f"host replication {REPLICATOR} 127.0.0.1/32 scram-sha-256",
                ],
                "basebackup": [{"checkpoint": "fast"}],
            },
        }


async def open_database(members: Sequence[PatroniMember], clock: Clock, timeout_s: float) -> None:
    """Make the service's role and database, once there is a primary. The commit waits for a synchronous standby."""
    import asyncpg

    primary = await primary_of(members, clock, timeout_s)
    connection = await asyncpg.connect(primary.superuser_dsn())
    try:
        if not await connection.fetchval("select 1 from pg_roles where rolname = $1", ROLE):
            password = primary.service_password
            await connection.execute(f"create role {ROLE} login password '{password}'")
        if not await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE):
            await connection.execute(f"create database {DATABASE} owner {ROLE}")
    finally:
        await connection.close()


async def primary_of(members: Sequence[PatroniMember], clock: Clock, timeout_s: float) -> PatroniMember:
    """The member that is primary, as soon as there is one. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while True:
            for member in members:
                if member.state is not State.RUNNING and member.state is not State.STARTING:
                    continue
                if (await member.describe())[0] == "primary":
                    return member
            await clock.sleep(0.1)


def _initdb(binaries: Path) -> list[object]:
    version = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\) (\d+)", version.stdout)
    assert found, "every postgres states its version"
    options: list[object] = [{"encoding": "UTF8"}, "no-locale", "data-checksums", "no-sync"]
    if int(found[1]) >= 17:
        options += [{"locale-provider": "builtin"}, {"builtin-locale": "C.UTF-8"}]
    return options
