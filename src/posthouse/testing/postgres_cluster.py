"""A PostgreSQL primary with streaming replicas, for tests: nobody manages it but the caller, who promotes and repairs.

Each member is a `LocalPostgres` with a keeper of its own, so nothing is left behind however the owner ends.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Self

from posthouse.testing.postgres import LocalPostgres, PostgresFailed, Setting

_NEEDED: dict[str, Setting] = {
    "wal_level": "replica",
    "hot_standby": True,
    "wal_log_hints": True,  # what `pg_rewind` asks for
    "wal_keep_size": "256MB",
    "max_wal_senders": 10,
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "100ms",
    "wal_receiver_timeout": "3s",
    "wal_sender_timeout": "30s",  # a frozen replica stays on the primary's list, as in the worst case it does
}
POLLS_MAX = 2_000


class Member(LocalPostgres):
    """One server of a cluster. With a `source` it begins as a copy of it, and streams from it."""

    def __init__(self, name: str, source: LocalPostgres | None, settings: Mapping[str, Setting]) -> None:
        super().__init__(settings={**_NEEDED, **settings})
        self.name = name
        self._source = source

    def __repr__(self) -> str:
        return f"<{self.name}: {super().__repr__()}>"

    def _initialise(self) -> None:
        if self._source is None:
            super()._initialise()
            return
        self._prepare_folder()
        copying = ("--checkpoint=fast", "--wal-method=stream", "--no-sync")
        self.run("pg_basebackup", "--dbname", self._source.dsn(), "--pgdata", str(self.data), *copying)
        self._stream_from(self._source)

    def follow(self, primary: LocalPostgres) -> None:
        """Stream from `primary` from now on; starts the server if it is stopped. Its history must be a part of it."""
        self._stream_from(primary)
        self.restart()

    def rewind(self, primary: LocalPostgres) -> None:
        """Of a former primary: undo what `primary` does not have, and follow it."""
        self.stop()
        self.run("pg_rewind", "--target-pgdata", str(self.data), "--source-server", primary.dsn())
        self.follow(primary)

    def promote(self) -> None:
        """Make a replica the primary of a new timeline; returns once it takes writes."""
        self.run("pg_ctl", "promote", "--wait", "--pgdata", str(self.data))

    def demand(self, *members: "Member") -> None:
        """As a primary, now or later: answer a write once all of these have it. Returns when in force.

        Whether anyone waits is decided by the checkpointer, which reads its settings before it does what it is asked.
        """
        named = f"{len(members)} ({', '.join(member.name for member in members)})" if members else ""
        self.configure(synchronous_standby_names=named)
        _until(lambda: self.sql("SHOW synchronous_standby_names") == named)
        self.sql("CHECKPOINT")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement and return what it gave, without headings."""
        quiet = ("--no-align", "--tuples-only", "--quiet", "--no-psqlrc")
        return self.run("psql", *quiet, "--command", statement, database).strip()

    def _stream_from(self, primary: LocalPostgres) -> None:
        signal_file = self.data / "standby.signal"
        signal_file.touch()
        self._hand_over(signal_file)
        self._settings["primary_conninfo"] = f"{primary.dsn()}?application_name={self.name}"
        self._settings["recovery_target_timeline"] = "latest"


class LocalPostgresCluster:
    """Members m0 (the first primary), m1, …; `synchronous` of the replicas must have a write before it is answered.

    With `synchronous=0` nobody waits. Settings are those of every member.
    """

    def __init__(
        self, replicas: int = 1, *, synchronous: int = 1, settings: Mapping[str, Setting] | None = None
    ) -> None:
        self._settings = dict(settings or {})
        self._replicas = replicas
        self._synchronous = synchronous
        self.members: list[Member] = []
        self.primary = self._member(None)

    def __enter__(self) -> Self:
        try:
            self.primary.start()
            for _ in range(self._replicas):
                self._member(self.primary).start()
            self.wait_until_streaming(*self.replicas)
            if self._synchronous:
                self.demand(*self.replicas[: self._synchronous])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _member(self, source: Member | None) -> Member:
        """One more, made only when it is started: from then on its keeper removes its folder, however we end."""
        member = Member(f"m{len(self.members)}", source, self._settings)
        self.members.append(member)
        return member

    def close(self) -> None:
        """Stop every member and remove its folder."""
        for member in reversed(self.members):
            member.close()

    @property
    def replicas(self) -> list[Member]:
        """All but the primary."""
        return [member for member in self.members if member is not self.primary]

    def dsn(self, database: str = "postgres") -> str:
        """One address that names all members, in their order, whoever is the primary."""
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        return self.primary.dsn(database).replace(f"127.0.0.1:{self.primary.port}", hosts)

    def demand(self, *members: Member) -> None:
        """A write is answered once all of these have it; with none, once the primary has. Returns when in force."""
        self.primary.demand(*members)

    def promote(self, member: Member, *synchronous: Member) -> None:
        """Make `member` the primary, whose writes those named must confirm. The others are told by `Member.follow`."""
        self.primary = member
        member.demand(*synchronous)
        member.promote()

    def wait_until_streaming(self, *members: Member) -> None:
        """Return once these receive from the primary, and have replayed what it has written by now."""
        written = self.primary.sql("SELECT pg_current_wal_lsn()")
        for member in members:
            _until(partial(self._replayed, member.name, written))

    def _replayed(self, name: str, written: str) -> bool:
        asked = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >="
        return name in self.primary.sql(f"{asked} '{written}'").split()


def _until(holds: Callable[[], bool]) -> None:
    """Ask until it holds; each question is a round trip to a server."""
    for _ in range(POLLS_MAX):
        if holds():
            return
    raise PostgresFailed("the cluster did not become what it was told to be")
