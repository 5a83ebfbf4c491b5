"""The PostgreSQL cluster of failover tests: it streams, waits, promotes, rewinds, and leaves nothing behind."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.testing.postgres_cluster import LocalPostgresCluster
from tests.testing.test_postgres import processes_of, wait_gone

FAST = {"fsync": False, "autovacuum": False}
IS_STANDBY = "SELECT pg_is_in_recovery()"


@pytest.fixture
def cluster() -> Iterator[LocalPostgresCluster]:
    with LocalPostgresCluster(2, settings=FAST) as cluster:
        yield cluster


def test_replicas_have_what_the_primary_has(cluster: LocalPostgresCluster) -> None:
    cluster.primary.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
    cluster.wait_until_streaming(*cluster.replicas)
    assert [member.sql("SELECT n FROM kept") for member in cluster.members] == ["42"] * 3
    assert [member.sql(IS_STANDBY) for member in cluster.members] == ["f", "t", "t"]
    assert cluster.dsn("chat").count("127.0.0.1:") == 3


def test_a_write_waits_for_the_replicas_that_must_confirm_it(cluster: LocalPostgresCluster) -> None:
    cluster.primary.sql("CREATE TABLE kept (n int)")
    confirming, other = cluster.replicas
    other.freeze()
    cluster.primary.sql("INSERT INTO kept VALUES (1)")
    confirming.freeze()
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(
            [cluster.primary._binaries / "psql", cluster.primary.dsn(), "-c", "INSERT INTO kept VALUES (2)"],
            timeout=0.5,
            capture_output=True,
            check=False,
        )
    confirming.thaw()
    other.thaw()
    cluster.demand()
    cluster.primary.sql("INSERT INTO kept VALUES (3)")


def test_a_replica_is_promoted_and_the_old_primary_follows_it(cluster: LocalPostgresCluster) -> None:
    """Also with writes of its own that the new primary never had: they are undone."""
    old, new, third = cluster.members
    cluster.demand()
    old.sql("CREATE TABLE kept (n int)")
    cluster.wait_until_streaming(new, third)
    new.configure(primary_conninfo="")
    while "m1" in old.sql("SELECT application_name FROM pg_stat_replication"):
        pass
    old.sql("INSERT INTO kept VALUES (1)")
    old.kill()
    cluster.promote(new)
    new.sql("INSERT INTO kept VALUES (2)")
    for member in (old, third):
        member.rewind(new)
    cluster.wait_until_streaming(old, third)
    assert [member.sql("SELECT n FROM kept") for member in cluster.members] == ["2"] * 3
    assert [member.sql(IS_STANDBY) for member in cluster.members] == ["t", "f", "t"]


def test_closing_leaves_neither_process_nor_folder_also_of_frozen_members() -> None:
    with LocalPostgresCluster(1, settings=FAST) as cluster:
        cluster.replicas[0].freeze()
    for member in cluster.members:
        assert not member.folder.exists()
        assert not processes_of(member.folder)


def test_a_cluster_does_not_outlive_an_owner_who_dies() -> None:
    script = (
        "import os; from posthouse.testing.postgres_cluster import LocalPostgresCluster\n"
        "with LocalPostgresCluster(1, settings={'fsync': False}) as cluster:\n"
        "    print(*(member.folder for member in cluster.members), flush=True)\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})"
    )
    owner = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    folders = [Path(name) for name in owner.stdout.decode().split()]
    assert len(folders) == 2, owner.stderr
    for folder in folders:
        wait_gone(folder)
