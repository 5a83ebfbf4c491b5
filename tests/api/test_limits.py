"""Each app's back end and each user has an allowance; who exceeds it is told when to come back."""

import pytest

from posthouse.api.limits import RequestLimits
from posthouse.api.settings import ApiSettings
from tests.api.site import ACME, ALICE, BOB, UMBRELLA, Site

SETTINGS = ApiSettings(
    requests_per_user_per_s=1.0,
    requests_per_user_burst=2.0,
    requests_per_app_per_s=10.0,
    requests_per_app_burst=5.0,
)


@pytest.fixture
def settings() -> ApiSettings:
    return SETTINGS


async def test_a_user_who_asks_too_often_is_told_when_to_come_back(site: Site) -> None:
    assert [(await site.get("/users?ids=bob", ALICE)).status for _ in range(3)] == [200, 200, 429]
    refused = await site.get("/users?ids=bob", ALICE)
    assert (refused.code, refused.body["retry_after_ms"], refused.headers["Retry-After"]) == (
        "rate_limited",
        1001,
        "2",
    )
    assert (await site.get("/users?ids=bob", BOB)).status == 200
    await site.clock.advance(1.0)
    assert (await site.get("/users?ids=bob", ALICE)).status == 200


async def test_one_apps_back_end_does_not_use_up_anothers_allowance(site: Site) -> None:
    assert [(await site.get("/users?ids=bob", ACME)).status for _ in range(6)] == [200] * 5 + [429]
    assert (await site.get("/users?ids=bob", UMBRELLA)).status == 200
    assert (await site.get("/users?ids=bob", ALICE)).status == 200


def test_what_is_counted_stays_bounded_and_full_buckets_go_first() -> None:
    limits = RequestLimits(SETTINGS, buckets_max=10)
    for _ in range(2):
        assert limits.wait_s("acme", "busy", now=0.0) == 0.0
    for n in range(9):
        limits.wait_s("acme", f"u{n}", now=-10.0)
    limits.wait_s("acme", "one more", now=0.0)
    assert len(limits) <= 10
    assert limits.wait_s("acme", "busy", now=0.0) > 0.0


def test_a_flood_of_users_who_all_owe_something_costs_no_more_memory() -> None:
    limits = RequestLimits(SETTINGS, buckets_max=10)
    for n in range(1000):
        assert limits.wait_s("acme", f"u{n}", now=0.0) == 0.0
        assert len(limits) <= 10
