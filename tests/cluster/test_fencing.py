"""A process whose name another has taken serves nobody any more; a cache that is not there is named at the start."""

from pathlib import Path

import pytest

from posthouse.app.config import Config, ConfigError
from posthouse.app.config.values import Auth, Cache, Data, Database, Listen, Node as Name
from posthouse.app.node import Node
from posthouse.app.ports import Ports, ports
from posthouse.app.reaching import Unreachable
from posthouse.app.secrets import FILE, SecretsError, load_or_create
from posthouse.client.http import Http
from posthouse.kit.clock import SystemClock
from posthouse.testing.ports import free_ports
from tests.cluster.silent_cache import SilentNodes

SHARED = Database(url="postgresql://127.0.0.1:1/posthouse")
CACHE = Cache(url="redis://127.0.0.1:6379/0")


def config(folder: Path, **rooms: object) -> Config:
    own = {
        "listen": Listen(port=next(free_ports())),
        "data": Data(folder=str(folder)),
        "node": Name(name="n"),
    }
    return Config(**(own | rooms))  # type: ignore[arg-type]


async def readiness(node: Node) -> int:
    http = Http()
    try:
        return (await http.ask("GET", f"http://127.0.0.1:{node.port}/readyz", {})).status
    finally:
        await http.close()


async def test_a_node_whose_name_another_has_taken_sends_its_clients_away(tmp_path: Path) -> None:
    """Two that answer to one name would each be told half of what concerns them."""
    register = SilentNodes(SystemClock())
    nodes = []
    for name in ("one", "two"):
        own = config(tmp_path / name)
        standing = ports(own, SystemClock())
        nodes.append(Node(own, ports=Ports(**(vars(standing) | {"nodes": register}))))
    one, two = nodes
    await one.start()
    await one.parts.membership.beat()
    assert await readiness(one) == 200
    await two.start()
    await one.parts.membership.beat()
    try:
        assert (await readiness(one), await readiness(two)) == (503, 200)
        assert one.parts.gateway.closed_because
        assert [event.kind for event in one.parts.events.latest()][-1] == "membership"
        await two.parts.membership.beat()
        assert not two.parts.membership.superseded
    finally:
        await one.stop()
        await two.stop()


async def test_a_cache_that_is_not_there_ends_the_start_with_its_name(tmp_path: Path) -> None:
    port = next(free_ports())
    own = config(tmp_path, cache=Cache(url=f"redis://127.0.0.1:{port}/0"), database=SHARED)
    load_or_create(tmp_path)
    with pytest.raises(Unreachable, match=rf"cache\.url.*127\.0\.0\.1:{port}"):
        await Node(own).start()


def test_one_of_several_nodes_makes_no_keys_for_itself(tmp_path: Path) -> None:
    """Clients of one node would be strangers to the next."""
    own = config(tmp_path, cache=CACHE, database=SHARED)
    with pytest.raises(SecretsError, match=rf"auth\.resume_secret.*{FILE}"):
        Node(own)
    with pytest.raises(SecretsError):
        Node(config(tmp_path, cache=CACHE, database=SHARED, auth=Auth(resume_secret="r" * 32)))
    load_or_create(tmp_path)
    Node(own)


def test_several_nodes_need_a_database_that_they_can_share(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    with pytest.raises(ConfigError, match=r"database\.url must be postgresql"):
        Node(config(tmp_path, cache=CACHE))
