"""The local PostgreSQL that tests stand on: it starts, dies, comes back with its data, and never outlives its owner."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from posthouse.testing import postgres
from posthouse.testing.postgres import (
    BINARIES_VARIABLE,
    LocalPostgres,
    PostgresFailed,
    PostgresMissing,
    find_binaries,
    fresh_database,
)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPostgres]:
    with LocalPostgres() as running:
        yield running


def ask(server: LocalPostgres, sql: str, database: str = "postgres") -> str:
    return server.run("psql", "--no-align", "--tuples-only", "--quiet", "--command", sql, database).strip()


def processes_of(folder: Path) -> list[psutil.Process]:
    """The server's processes that are alive: all are started with, or work in, its data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            places = (*process.cmdline(), process.cwd())
            if process.status() != psutil.STATUS_ZOMBIE and any(
                place.startswith(str(folder)) for place in places
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_gone(folder: Path) -> None:
    """Until neither the folder nor a process of it is there; the test's own timeout bounds it."""
    while folder.exists() or processes_of(folder):
        psutil.wait_procs(processes_of(folder), timeout=0.02)


def test_it_runs_with_the_safe_defaults_and_the_locale_that_needs_no_system_locale(
    server: LocalPostgres,
) -> None:
    assert ask(server, "show fsync") == "on"
    assert ask(server, "show server_encoding") == "UTF8"
    collation = (
        "select coalesce(datlocprovider::text, '') || datcollate from pg_database where datname = 'postgres'"
    )
    assert ask(server, collation) in ("bC", "cC")


def test_it_listens_on_loopback_only(server: LocalPostgres) -> None:
    assert ask(server, "show listen_addresses") == "127.0.0.1"
    assert ask(server, "show unix_socket_directories") == ""


def test_what_is_committed_is_there_after_every_process_was_killed(server: LocalPostgres) -> None:
    ask(server, "create table kept (word text); insert into kept values ('still here')")
    port = server.port
    server.kill()
    assert {process.name() for process in processes_of(server.folder)} == {"sh"}, "only the keeper is left"
    server.start()
    assert server.port == port
    assert ask(server, "select word from kept") == "still here"


def test_a_clean_stop_needs_no_recovery(server: LocalPostgres) -> None:
    server.log.write_text("")
    server.restart()
    assert "not properly shut down" not in server.log_tail()


def test_a_running_server_takes_new_settings(server: LocalPostgres) -> None:
    server.configure(work_mem="7MB")
    while ask(server, "show work_mem") != "7MB":
        pass
    assert ask(server, "show work_mem") == "7MB"


def test_a_database_is_copied_from_a_template(server: LocalPostgres) -> None:
    server.create_database("pattern")
    ask(server, "create table drawn (n int)", "pattern")
    with fresh_database(server, "pattern") as dsn:
        name = dsn.rpartition("/")[2]
        assert ask(server, "select count(*) from drawn", name) == "0"
    assert ask(server, f"select count(*) from pg_database where datname = '{name}'") == "0"


def test_a_frozen_server_goes_on_when_thawed(server: LocalPostgres) -> None:
    server.freeze()
    frozen = {process.status() for process in processes_of(server.folder) if process.name() != "sh"}
    server.thaw()
    assert frozen == {psutil.STATUS_STOPPED}
    assert ask(server, "select 1") == "1"


def test_a_tool_that_fails_says_why(server: LocalPostgres) -> None:
    with pytest.raises(PostgresFailed, match='database "absent" does not exist'):
        ask(server, "select 1", "absent")


def test_with_a_password_nobody_enters_without_it() -> None:
    with LocalPostgres(settings={"fsync": False}, password="s3cret") as server:
        assert ask(server, "select 1") == "1"
        assert ":s3cret@" in server.dsn()
        server.password = "guess"
        with pytest.raises(PostgresFailed, match="password authentication failed"):
            ask(server, "select 1")


def test_a_given_folder_keeps_its_data(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = Path("/tmp") / f"posthouse-kept-{os.getpid()}"
    try:
        with LocalPostgres(folder) as server:
            ask(server, "create table kept (n int)")
        with LocalPostgres(folder) as server:
            assert ask(server, "select count(*) from kept") == "0"
    finally:
        shutil.rmtree(folder)


def test_a_server_that_cannot_start_says_why_and_leaves_nothing() -> None:
    server = LocalPostgres(settings={"shared_buffers": "a lot"})
    with pytest.raises(PostgresFailed, match="invalid value for parameter"), server:
        pass
    wait_gone(server.folder)


def test_closing_leaves_neither_process_nor_folder() -> None:
    with LocalPostgres(settings={"fsync": False}) as server:
        assert processes_of(server.folder)
    assert not server.folder.exists()
    assert not processes_of(server.folder)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_does_not_outlive_an_owner_who_dies(how: signal.Signals) -> None:
    script = (
        "import os, sys; from posthouse.testing.postgres import LocalPostgres\n"
        "server = LocalPostgres(settings={'fsync': False}); server.start(); print(server.folder, flush=True)\n"
        f"os.kill(os.getpid(), {int(how)}); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    written, _ = owner.communicate()
    folder = Path(written.decode().strip())
    assert folder.name.startswith("posthouse-postgres-")
    wait_gone(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_it_runs_for_an_ordinary_user() -> None:
    script = (
        "import os, pwd; from posthouse.testing.postgres import LocalPostgres\n"
        "user = pwd.getpwnam('nobody')  # after the imports: Python itself may lie in root's home\n"
        "os.setgroups([]); os.setgid(user.pw_gid); os.setuid(user.pw_uid)\n"
        "with LocalPostgres(settings={'fsync': False}) as server:\n"
        "    print(server.run('psql', '--no-align', '--tuples-only', '--command', 'select 42', 'postgres'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if done.returncode and "Permission" in done.stderr:
        pytest.skip("this checkout lies where other users may not read")
    assert done.stdout.strip() == "42", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_binaries_out_of_the_servers_reach_are_copied(tmp_path: Path) -> None:
    install = tmp_path / "install"
    shutil.copytree(find_binaries().parent, install, symlinks=True)
    tmp_path.chmod(0o700)
    with LocalPostgres(settings={"fsync": False}, binaries=install / "bin") as server:
        assert ask(server, "select 1") == "1"


def test_a_variable_names_the_binaries_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(BINARIES_VARIABLE, str(find_binaries()))
    assert find_binaries() == Path(os.environ[BINARIES_VARIABLE])
    monkeypatch.setenv(BINARIES_VARIABLE, str(tmp_path))
    with pytest.raises(PostgresMissing, match="holds no initdb"):
        find_binaries()


def test_without_the_wheel_the_systems_newest_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(BINARIES_VARIABLE, raising=False)
    monkeypatch.setattr(postgres, "find_spec", lambda name: None)
    monkeypatch.setattr(postgres, "SYSTEM_FOLDER", tmp_path)
    for version in ("9", "15", "16"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    assert find_binaries() == tmp_path / "16" / "bin"


def test_no_postgresql_at_all_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(BINARIES_VARIABLE, raising=False)
    monkeypatch.setattr(postgres, "find_spec", lambda name: None)
    monkeypatch.setattr(postgres, "SYSTEM_FOLDER", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(PostgresMissing, match=BINARIES_VARIABLE):
        find_binaries()
