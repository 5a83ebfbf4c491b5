"""Between a node and its database: who is believed there, and what users learn of it when it is away."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from posthouse.app.config.values import Canary, Database
from posthouse.storage.base import StorageUnavailable
from posthouse.testing.postgres import LocalPostgres
from tests.security.authority import Authority, Pair
from tests.security.serving import ACME, config, running, token
from tests.security.site import TEAM, Town, a_send, back_end

PASSWORD = "the-password-of-the-database"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authority")


@pytest.fixture(scope="module")
def vouching(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def postgres(vouching: Authority) -> Iterator[LocalPostgres]:
    """A server that asks for a password and speaks TLS."""
    with LocalPostgres(password=PASSWORD, settings={"fsync": False}) as server:
        encrypt(server, vouching.issue("database"))
        yield server


def encrypt(server: LocalPostgres, pair: Pair) -> None:
    for source, name in zip(pair, ("server.crt", "server.key"), strict=True):
        target = server.data / name
        shutil.copyfile(source, target)
        target.chmod(0o600)
        server._hand_over(target)
    server.configure(ssl=True, ssl_cert_file="server.crt", ssl_key_file="server.key")


@pytest.fixture
async def dsn(postgres: LocalPostgres, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    name = f"d{abs(hash(request.node.name)) % 10**8}"
    yield await asyncio.to_thread(postgres.create_database, name)
    await asyncio.to_thread(postgres.drop_database, name)


async def test_all_connections_are_encrypted_and_the_server_must_be_the_right_one(
    dsn: str, vouching: Authority, tmp_path: Path
) -> None:
    """`sslmode=verify-full` in the address does it all."""
    verified = f"{dsn}?sslmode=verify-full&sslrootcert={vouching.file}"
    settings = config(tmp_path / "data", canary=Canary(interval_s=0), database=Database(url=verified))
    async with running(settings) as node, Town.around(node) as town:
        await town.furnish()
        asking = await asyncpg.connect(dsn)
        try:
            own = (
                "datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            encrypted = f"SELECT bool_and(ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE {own}"
            ((all_of_them, count),) = await asking.fetch(encrypted)
        finally:
            await asking.close()
        assert (all_of_them, count > 1) == (True, True)


@pytest.mark.parametrize("fault", ["another authority", "another host"])
async def test_a_server_that_nobody_vouches_for_is_not_believed(
    dsn: str, vouching: Authority, tmp_path: Path, fault: str
) -> None:
    """The node does not start, and says why; the password goes nowhere, and is in no message."""
    ca = Authority(tmp_path, "other").file if fault == "another authority" else vouching.file
    if fault == "another host":  # the certificate is for 127.0.0.1
        dsn = dsn.replace("127.0.0.1", "localhost")
    url = f"{dsn}?sslmode=verify-full&sslrootcert={ca}"
    with pytest.raises(StorageUnavailable, match="shows a certificate that is not trusted") as raised:
        async with running(config(tmp_path / "data", database=Database(url=url))):
            pass
    assert PASSWORD not in str(raised.value)


async def test_users_are_not_told_where_the_database_is_nor_who_asks_it(
    dsn: str, postgres: LocalPostgres, tmp_path: Path
) -> None:
    """A refusal says that it cannot be done now; what is wrong, `/readyz` and the log tell to operators."""
    settings = config(tmp_path / "data", canary=Canary(interval_s=0), database=Database(url=dsn))
    async with running(settings) as node, Town.around(node) as town:
        await town.furnish()
        async with town.talking(token("ann")) as ann:
            await asyncio.to_thread(postgres.stop)
            try:
                told = [await ann.ask(frame) for frame in FRAMES]
                paths = (f"/v1/conversations/{TEAM}/entries", "/v1/users/ann", "/v1/conversations?user=ann")
                replies = [await town.ask("GET", path, back_end(ACME)) for path in paths]
            finally:
                await asyncio.to_thread(postgres.start)
    for text in (*map(str, told), *(reply.text for reply in replies)):
        assert "error" in text or '"code":45' in text, text
        assert not any(word in text for word in ("127.0.0.1", str(postgres.port), "postgres", PASSWORD)), text


FRAMES = (
    a_send(TEAM),
    {"t": "fetch", "ref": 1, "conv": TEAM},
    {"t": "list", "ref": 2},
    {"t": "cursor", "ref": 3, "cursors": [{"conv": TEAM, "read": 1}]},
)
