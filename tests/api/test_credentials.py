"""Nobody is let in without credentials, nor with bad ones, on any route that asks for them."""

import pytest

from posthouse.api.credentials import Access
from posthouse.api.routes import Route
from posthouse.api.web import ROUTES
from tests.api.site import ACME, ALICE, KEYS, NOBODY, Caller, Site
from tests.auth.forge import FORGED

GUARDED = [route for route in ROUTES if route.access is not Access.ANYONE]


def path_of(route_path: str) -> str:
    return route_path.replace("{user}", "alice").replace("{conv}", "team")


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.name)
@pytest.mark.parametrize(
    "caller",
    [NOBODY, Caller({"X-Api-Key": "ph_wrong"}), Caller({"Authorization": "Bearer x.y.z"})],
    ids=["no credentials", "a wrong API key", "a wrong token"],
)
async def test_every_guarded_route_asks_for_credentials_first(
    site: Site, route: Route, caller: Caller
) -> None:
    """Before the body is read, so that a stranger's bytes are parsed by nobody."""
    reply = await site.ask(route.method, path_of(route.path), caller, b"{")
    reads_tokens = "Authorization" in caller.headers and route.access is not Access.OPERATOR
    assert (reply.status, reply.code) == (401, "token_invalid" if reads_tokens else "unauthorized")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "name", [name for name, token in FORGED.items() if token.isprintable() and token.isascii()]
)
async def test_a_forged_token_opens_nothing(site: Site, name: str) -> None:
    reply = await site.get("/conversations", Caller({"Authorization": f"Bearer {FORGED[name]}"}))
    assert reply.status == 401


async def test_an_expired_token_is_called_so(site: Site) -> None:
    """The client then fetches a new one instead of giving up."""
    await site.clock.advance(3600)
    reply = await site.get("/conversations", ALICE)
    assert (reply.status, reply.code) == (401, "token_expired")


@pytest.mark.parametrize("header", ["ApiKey {}", "apikey   {} "])
async def test_an_api_key_may_come_in_the_authorization_header(site: Site, header: str) -> None:
    caller = Caller({"Authorization": header.format(KEYS["acme"])})
    assert (await site.get("/conversations?user=alice", caller)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {**ACME.headers, **ALICE.headers},
        {"Authorization": "Basic YWxpY2U6cHc="},
        {"Authorization": KEYS["acme"]},
        {"Authorization": f"Bearer {KEYS['acme']}"},
        {"Authorization": f"ApiKey {ALICE.headers['Authorization'][7:]}"},
        {"Authorization": ""},
        {"X-Api-Key": ""},
        {"Cookie": f"token={ALICE.headers['Authorization'][7:]}"},
    ],
)
async def test_credentials_of_the_wrong_kind_or_two_at_once_are_refused(
    site: Site, headers: dict[str, str]
) -> None:
    assert (await site.get("/conversations?user=alice", Caller(headers))).status == 401


async def test_credentials_are_not_taken_from_the_url(site: Site) -> None:
    """P-17.1: URLs end up in logs."""
    assert (await site.get(f"/users/alice?token={ALICE.headers['Authorization'][7:]}")).status == 401
