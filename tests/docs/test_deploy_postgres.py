"""deploy/patroni: a real PostgreSQL with its parameters lets in whom pg_hba is to let in, and nobody else."""

import asyncio
import importlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from posthouse.testing.postgres import LocalPostgres, PostgresFailed
from tests.security.authority import Authority

FILE = Path(__file__).resolve().parents[2] / "deploy/patroni/patroni.yaml"
OUTSIDE, HERE = "10.0.0.0/8", "127.0.0.0/8"
PASSWORD = "of-the-test"


@pytest.fixture(scope="module")
def patroni() -> dict[str, Any]:
    """Patroni, which is there for the local cluster, brings the parser."""
    yaml: Any = importlib.import_module("yaml")
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


@pytest.fixture(scope="module")
def roles(patroni: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The roles that Patroni makes, with passwords as from its environment."""
    authentication: dict[str, dict[str, str]] = patroni["postgresql"]["authentication"]
    return {role: {**own, "password": f"{PASSWORD}-{role}"} for role, own in authentication.items()}


@pytest.fixture(scope="module")
def postgres(
    patroni: dict[str, Any],
    roles: dict[str, dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalPostgres]:
    """With the file's parameters and roles, and a certificate in the place of the file's."""
    parameters = dict(patroni["bootstrap"]["dcs"]["postgresql"]["parameters"])
    parameters |= patroni["postgresql"].get("parameters", {})
    certificate = Authority(tmp_path_factory.mktemp("authority")).issue("database")
    with LocalPostgres(password=PASSWORD) as server:
        asyncio.run(make_roles(server, roles))
        for key, source in zip(("ssl_cert_file", "ssl_key_file"), certificate, strict=True):
            if key in parameters:
                parameters[key] = put(server, Path(parameters[key]).name, source)
        server.configure(**parameters)
        yield server


async def make_roles(server: LocalPostgres, roles: Mapping[str, Mapping[str, str]]) -> None:
    connection = await asyncpg.connect(server.dsn())
    try:
        for role, right in (("superuser", "superuser"), ("replication", "replication")):
            name, password = roles[role]["username"], roles[role]["password"]
            await connection.execute(f"create role {name} login {right} password '{password}'")
    finally:
        await connection.close()


def put(server: LocalPostgres, name: str, source: Path) -> str:
    """A copy that the server may read."""
    target = server.data / name
    shutil.copyfile(source, target)
    target.chmod(0o600)
    server._hand_over(target)
    return name


def let_in_by(server: LocalPostgres, lines: list[str]) -> None:
    (server.data / "pg_hba.conf").write_text("".join(f"{line}\n" for line in lines))
    server.log.write_text("")
    server.restart()


def asked(server: LocalPostgres, role: Mapping[str, str], more: str, question: str) -> str:
    """What psql is answered as that role over TCP. Raises `PostgresFailed` when it is not let in."""
    who = f"user={role['username']} password={role['password']}"
    return server.run("psql", "-AtX", "-c", question, f"host=127.0.0.1 {who} {more}").strip()


@pytest.mark.parametrize("tls", ["disable", "require"])
def test_patroni_reaches_its_own_postgresql(
    postgres: LocalPostgres, patroni: dict[str, Any], roles: dict[str, dict[str, str]], tls: str
) -> None:
    let_in_by(postgres, patroni["postgresql"]["pg_hba"])
    assert asked(postgres, roles["superuser"], f"dbname=postgres sslmode={tls}", "select 1") == "1"
    replicating = f"dbname=postgres replication=true sslmode={tls}"
    assert asked(postgres, roles["replication"], replicating, "IDENTIFY_SYSTEM")
    assert refusals(postgres) == []


def test_members_and_nodes_are_let_in_from_outside_and_only_with_tls(
    postgres: LocalPostgres, patroni: dict[str, Any], roles: dict[str, dict[str, str]]
) -> None:
    lines = [line for line in patroni["postgresql"]["pg_hba"] if OUTSIDE in line]
    let_in_by(postgres, [line.replace(OUTSIDE, HERE) for line in lines])
    tls = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    assert asked(postgres, roles["superuser"], "dbname=postgres", tls) == "t"
    assert asked(postgres, roles["replication"], "dbname=postgres replication=true", "IDENTIFY_SYSTEM")
    assert refusals(postgres) == []
    with pytest.raises(PostgresFailed, match="no encryption"):
        asked(postgres, roles["superuser"], "dbname=postgres sslmode=disable", tls)


def refusals(server: LocalPostgres) -> list[str]:
    said = server.log.read_text().splitlines()
    return [line for line in said if "no pg_hba.conf entry" in line or "cannot match" in line]
