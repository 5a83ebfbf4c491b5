"""Web pages may call with a user's token, from the origins that the configuration allows."""

import aiohttp
import pytest

from posthouse.api.settings import ApiSettings
from tests.api.site import ALICE, Site

PREFLIGHT = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}


async def preflight(site: Site, origin: str) -> tuple[int, dict[str, str]]:
    async with aiohttp.ClientSession() as session:
        headers = PREFLIGHT | {"Origin": origin}
        async with session.options(f"{site.url}/v1/conversations", headers=headers) as response:
            return response.status, dict(response.headers)


async def test_by_default_every_page_may_ask_but_without_cookies(site: Site) -> None:
    status, headers = await preflight(site, "https://app.example")
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    assert "Idempotency-Key" in headers["Access-Control-Allow-Headers"]
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(
        headers["Access-Control-Allow-Methods"].split(", ")
    )
    assert "Access-Control-Allow-Credentials" not in headers


async def test_an_api_key_has_no_place_in_a_page(site: Site) -> None:
    _, headers = await preflight(site, "https://app.example")
    assert "X-Api-Key" not in headers["Access-Control-Allow-Headers"]


async def test_refusals_can_be_read_by_the_page_too(site: Site) -> None:
    for path, caller in (("/conversations", ALICE), ("/nothing", ALICE), ("/conversations?limit=0", ALICE)):
        reply = await site.ask("GET", path, caller, headers={"Origin": "https://app.example"})
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert reply.headers["Access-Control-Expose-Headers"] == "Retry-After"


async def test_what_is_no_page_gets_no_such_headers(site: Site) -> None:
    assert "Access-Control-Allow-Origin" not in (await site.get("/conversations", ALICE)).headers


class TestOnlySome:
    """`allowed_origins = ["https://app.example"]`."""

    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(allowed_origins=("https://app.example",))

    async def test_that_origin_may_and_caches_keep_it_apart(self, site: Site) -> None:
        _, headers = await preflight(site, "https://app.example")
        assert (headers["Access-Control-Allow-Origin"], headers["Vary"]) == ("https://app.example", "Origin")

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "http://app.example", "https://app.example.evil", "null"]
    )
    async def test_others_may_not(self, site: Site, origin: str) -> None:
        _, headers = await preflight(site, origin)
        assert "Access-Control-Allow-Origin" not in headers
        reply = await site.ask("GET", "/conversations", ALICE, headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in reply.headers
