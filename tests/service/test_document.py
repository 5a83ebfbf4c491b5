"""The API keeps the word of its OpenAPI document, whoever calls: with valid requests, invalid ones, in sequences."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthouse.api.credentials import Access
from posthouse.api.web import ROUTES
from posthouse.app.config.values import Node, Operator
from posthouse.auth.keys import api_key_hash
from tests.service import stranger
from tests.service.site import API_KEY, Site, serving

OPERATOR_KEY = "pho_the-operator-s-key"
OPERATIONS = {f"{route.method} /v1{route.path}": route.access for route in ROUTES}
REACHED = {200, 409}
"""409: the only node of a cluster cannot be drained."""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    operator = Operator(key_hashes=(api_key_hash(OPERATOR_KEY),))
    async with serving(tmp_path, operator=operator, node=Node(name=stranger.NODE)) as site:
        await site.group("ben", conv=stranger.CONVERSATION)
        await site.add(stranger.CONVERSATION, stranger.MEMBER, role="owner")
        yield site


def credential(site: Site, who: Access) -> stranger.Credential:
    credentials: dict[Access, stranger.Credential] = {
        Access.USER: {"accessToken": {"bearer": site.token(stranger.MEMBER)}},
        Access.BACK_END: {"apiKey": {"api_key": API_KEY}},
        Access.OPERATOR: {"operatorKey": {"api_key": OPERATOR_KEY}},
        Access.ANYONE: {},
    }
    return credentials[who]


@pytest.mark.timeout(240)  # a thousand requests and more, each made up and judged: ten seconds of a free core
@pytest.mark.parametrize(
    "who",
    [Access.USER, Access.BACK_END, Access.OPERATOR, Access.ANYONE],
    ids=["a user", "a back end", "an operator", "nobody"],
)
async def test_the_api_keeps_its_document_s_word_to(site: Site, who: Access) -> None:
    """No fault, no status, type or shape that is not in the document, nothing malformed taken, nothing well-formed
    refused, no credential ignored; and everybody reaches what is theirs, and nothing else."""
    heard = await asyncio.to_thread(stranger.plays, site.url, credential(site, who))
    assert not heard.complaints
    assert heard.statuses.keys() == OPERATIONS.keys()
    for operation, access in OPERATIONS.items():
        is_theirs = access is Access.ANYONE or bool(access & who)
        assert bool(heard.statuses[operation] & REACHED) == is_theirs, (operation, heard.statuses[operation])
