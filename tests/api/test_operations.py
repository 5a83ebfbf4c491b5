"""What operators ask, and where clients are told to connect: no credentials needed."""

import aiohttp
import msgspec
import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from posthouse.api.node import ALONE_TTL_S
from posthouse.api.settings import ApiSettings
from posthouse.health.readiness import Part, Readiness
from tests.api.site import ACME, ALICE, OPERATOR, Caller, Site

NOBODY = Caller({})


async def fetch(site: Site, path: str, caller: Caller = NOBODY) -> tuple[int, str, bytes]:
    async with (
        aiohttp.ClientSession(headers=caller.headers) as session,
        session.get(f"{site.url}{path}") as response,
    ):
        return response.status, response.headers["Content-Type"], await response.read()


async def test_a_process_that_lives_says_so_even_when_it_is_not_ready(site: Site) -> None:
    site.node.readiness = Readiness(False, "the disk is full")
    status, _, body = await fetch(site, "/healthz")
    assert (status, msgspec.json.decode(body)) == (200, {"status": "ok"})


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_readiness_is_told_with_its_reason(site: Site, ready: bool, status: int) -> None:
    site.node.readiness = Readiness(ready, "because")
    answered, kind, body = await fetch(site, "/readyz")
    assert (answered, kind) == (status, "application/json")
    assert msgspec.json.decode(body) == {"ready": ready, "reason": "because", "degraded": False, "parts": []}


async def test_a_proxy_may_tell_a_draining_node_from_one_that_fails(site: Site) -> None:
    """So that it sends nobody new there, and cuts nobody off."""
    site.node.readiness = Readiness(False, "the node is draining", draining=True)
    assert (await fetch(site, "/readyz?draining=404"))[0] == 404
    assert (await fetch(site, "/readyz"))[0] == 503
    site.node.readiness = Readiness(False, "the disk is full")
    assert (await fetch(site, "/readyz?draining=404"))[0] == 503


async def test_metrics_are_what_prometheus_reads(site: Site) -> None:
    Counter("letters", "Letters carried.", registry=site.node.registry).inc(3)
    status, content_type, body = await fetch(site, "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    assert samples["letters_total"] == 3.0


async def test_clients_are_told_where_to_connect_and_for_how_long(site: Site) -> None:
    """P-2.1."""
    reply = await site.get("/endpoints")
    host = site.url.removeprefix("http://")
    assert reply.body == {"endpoints": [{"url": f"ws://{host}/v1/ws", "weight": 100}], "ttl_s": 300}


async def test_while_only_one_of_several_nodes_takes_clients_the_list_is_soon_asked_for_again(
    site: Site,
) -> None:
    site.node.alone = True
    assert (await site.get("/endpoints")).body["ttl_s"] == ALONE_TTL_S


async def test_behind_a_proxy_that_ends_tls_the_urls_are_secure(site: Site) -> None:
    headers = {"X-Forwarded-Proto": "https", "Host": "chat.example.com"}
    reply = await site.ask("GET", "/endpoints", headers=headers)
    assert reply.body["endpoints"][0]["url"] == "wss://chat.example.com/v1/ws"


class TestDetailsForOperators:
    """`operator.details = "key"`."""

    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(details_open=False)

    BEARER = Caller({"Authorization": f"Bearer {OPERATOR.headers['X-Operator-Key']}"})
    WRONG = Caller({"X-Operator-Key": "pho_no-operator-s-key"})

    @pytest.mark.parametrize("caller", [NOBODY, ACME, ALICE, WRONG])
    async def test_others_learn_that_a_node_is_ready_and_no_more(self, site: Site, caller: Caller) -> None:
        site.node.readiness = Readiness(
            False, "db-1.internal is away", parts=(Part("database", "failed", "why"),)
        )
        status, _, body = await fetch(site, "/readyz", caller)
        told = msgspec.json.decode(body)
        assert (status, told["ready"], told["parts"]) == (503, False, [])
        assert "internal" not in told["reason"]
        assert (await fetch(site, "/metrics", caller))[0] == 401
        assert (await fetch(site, "/healthz", caller))[0] == 200

    @pytest.mark.parametrize("caller", [OPERATOR, BEARER])
    async def test_operators_are_told_all_also_as_prometheus_shows_a_key(
        self, site: Site, caller: Caller
    ) -> None:
        site.node.readiness = Readiness(True, "because")
        assert msgspec.json.decode((await fetch(site, "/readyz", caller))[2])["reason"] == "because"
        assert (await fetch(site, "/metrics", caller))[0] == 200
