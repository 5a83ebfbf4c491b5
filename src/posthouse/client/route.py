"""Where one client goes: the endpoints it knows, which of them failed, and in what order to try them. Pure.

Each endpoint has a circuit breaker, kept over sessions: after `FAILURES_TO_OPEN` failures in a row the endpoint is left
out, and longer each time; after that one attempt may probe it. Behind all that may be tried the others are tried all
the same, so a breaker never keeps a client away for good; and where all have failed none is worse than the others.
"""

from collections.abc import Callable, Iterable, Sequence
from math import inf

from posthouse.client.endpoints import ENDPOINTS_MAX, Address, Endpoint, api_of, is_socket
from posthouse.kit.backoff import Backoff

FAILURES_TO_OPEN = 2
OPEN = Backoff(first_s=5.0, factor=2.0, longest_s=60.0)
"""How long a breaker stays open: from half of this, at random, so that not all clients probe together."""
CANDIDATES_MAX = 8
"""Endpoints that take part in one race."""
TTL_S_MIN = 5.0
REFRESH_SHARE = 0.8
"""A list is asked for again in the last fifth of its time to live, at random."""
ASK_AGAIN_S = 15.0
"""After nobody has given a list."""
LOOK_WITHIN_S = 2.0
"""After an endpoint was lost the list is asked for within so long, at random: all who lost it do so."""


class Breaker:
    """One endpoint's record."""

    __slots__ = ("failures", "open_until")

    def __init__(self) -> None:
        self.failures = 0
        self.open_until = -inf

    def fail(self, now: float, uniform: float) -> None:
        """It could not be reached, refused, was too slow, or broke off."""
        self.failures += 1
        opened = self.failures - FAILURES_TO_OPEN
        if opened >= 0:
            self.open_until = max(self.open_until, now + OPEN.delay_s(opened + 1, 0.5 + uniform / 2))


class Route:
    """One client's view, from the addresses that the application gave: at least one."""

    __slots__ = (
        "_breakers", "_failed", "_former", "_listed", "_own", "_own_apis", "_preferred", "_refused", "_stale_at",
        "current", "doubted_at", "look_at", "secure",
    )  # fmt: skip

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.secure = all(address.fallback.url.startswith("wss:") for address in addresses)
        """True when the application asked for TLS: then nobody may lead this client away from it (P-17.5)."""
        self._own = tuple(address.fallback for address in addresses)
        self._own_apis = tuple(address.api for address in addresses if address.asks)
        self._listed: tuple[Endpoint, ...] = ()
        self._former: tuple[Endpoint, ...] = ()
        """Of lists before, what the newest leaves out: who was unfit then may be the only one left now."""
        self._stale_at = -inf if self._own_apis else inf
        self._failed: dict[str, None] = {}
        self._refused: dict[str, None] = {}
        """Those whose last answer was that they want none of this client."""
        self._breakers: dict[str, Breaker] = {}
        self._preferred = ""
        self.current = self._own[0].url
        self.doubted_at = -inf
        """When something was seen that an older list may not know."""
        self.look_at = inf
        """When the list should be asked for again."""

    def __repr__(self) -> str:
        return f"<Route current={self.current} failed={list(self._failed)} known={list(self._known())}>"

    # What there is

    @property
    def asks(self) -> bool:
        """True when nodes are asked for endpoints: no address names the one endpoint to use."""
        return bool(self._own_apis)

    @property
    def listed(self) -> bool:
        """True when a node has told which endpoints there are."""
        return bool(self._listed)

    def stale(self, now: float) -> bool:
        """True when the list is older than the node said it is good for, or there should be one and is none."""
        return now >= self._stale_at

    def learn(self, endpoints: Sequence[Endpoint], ttl_s: float, now: float, uniform: float) -> None:
        """Replace the list; an empty one changes nothing but the time to ask again."""
        endpoints = [each for each in endpoints if self._may_lead_to(each.url)]
        if not endpoints:
            self.look_at = now + ASK_AGAIN_S * (0.5 + uniform / 2)
            return
        left_out = [
            each for each in (*self._listed, *self._former) if each.url not in {new.url for new in endpoints}
        ]
        self._former = tuple({each.url: each for each in left_out}.values())[:ENDPOINTS_MAX]
        self._listed = tuple(endpoints[:ENDPOINTS_MAX])
        ttl_s = max(TTL_S_MIN, ttl_s)
        self._stale_at = now + ttl_s
        self.look_at = now + ttl_s * (REFRESH_SHARE + (1 - REFRESH_SHARE) * uniform)
        known = self._known()
        self._breakers = {url: own for url, own in self._breakers.items() if url in known}
        self._failed = {url: None for url in self._failed if url in known}
        self._refused = {url: None for url in self._refused if url in known}

    def doubt(self, now: float, uniform: float) -> None:
        """An endpoint was lost: the list may have changed."""
        self.doubted_at = now
        if self.asks:
            self.look_at = min(self.look_at, now + LOOK_WITHIN_S * uniform)

    def apis(self) -> list[str]:
        """Where to ask for the list, the address given may be a dead one: whoever has not just failed first."""
        others = (api_of(each.url) for each in (*self._listed, *self._former))
        bases = dict.fromkeys([*self._own_apis, *others])
        failed = dict.fromkeys(api_of(url) for url in self._failed)
        return sorted(bases, key=lambda base: base in failed)[:CANDIDATES_MAX]

    # Where to go

    def prefer(self, url: str) -> None:
        """Go there next: the server said so, or the client was there and nothing is wrong with it."""
        if self._may_lead_to(url):
            self._preferred = url

    def may_try(self, url: str, now: float) -> bool:
        """True when an endpoint has not failed in this outage, and its breaker lets one through."""
        return url not in self._failed and self._closes_at(url) <= now

    def has_other(self, now: float) -> bool:
        """True when there is an endpoint that has not failed in this outage and may be tried."""
        return any(self.may_try(url, now) for url in self._known())

    def hopeless(self) -> bool:
        """True when every endpoint there is has refused this client for good."""
        return all(url in self._refused for url in self._known())

    def candidates(self, now: float, draw: Callable[[], float]) -> list[str]:
        """The endpoints of the next race, in order; never none. `draw` gives random numbers in [0, 1).

        First where the client was sent. Then the list's: one drawn by weight, the others by rank, those without weight
        last. Then the addresses' own, then those of earlier lists. At the end, for the case that none of these answers,
        what may not be tried, in the order in which breakers close: what failed just now may be all that is left. When
        nothing may be tried, the fault is none of theirs: all begin anew.
        """
        preferred, self._preferred = self._preferred, ""
        none_is_left = not self.has_other(now)
        if none_is_left:
            self._failed.clear()
        last = sorted(self._known(), key=self._closes_at)
        weighted = [each for each in self._listed if each.weight > 0 and self.may_try(each.url, now)]
        first = [_drawn(weighted, draw())] if weighted else []
        rest = (url for url in self._known() if self.may_try(url, now))
        candidates = _first(preferred, [*first, *rest, *last])
        if none_is_left:
            self._breakers.clear()
        return candidates

    # How it went

    def fail(self, url: str, now: float, uniform: float, *, final: bool = False) -> None:
        """An endpoint broke off, refused, or did not answer in time. `final`: it will refuse again."""
        self._failed[url] = None
        self._refused.pop(url, None)
        if final and url in self._known():
            self._refused[url] = None
        if url in self._known() or len(self._breakers) < 2 * ENDPOINTS_MAX:
            self._breakers.setdefault(url, Breaker()).fail(now, uniform)

    def leave(self, url: str) -> None:
        """An endpoint sent this client away, and may take it again later: nothing is wrong with it."""
        self._failed[url] = None

    def stand(self, now: float, uniform: float) -> None:
        """A session stands at the current endpoint: the outage is over. Its breaker learns it only from `last`.

        Whoever could not be told of endpoints meanwhile asks again soon: this one may be the next to go.
        """
        self._failed.clear()
        self._refused.clear()
        if self.asks and self.stale(now):
            self.look_at = min(self.look_at, now + LOOK_WITHIN_S * uniform)

    def last(self) -> None:
        """The session at the current endpoint lasted: whatever it did before is forgiven."""
        self._breakers.pop(self.current, None)

    # Inside

    def _may_lead_to(self, url: str) -> bool:
        return is_socket(url) and (url.startswith("wss:") or not self.secure)

    def _known(self) -> dict[str, None]:
        """All endpoints in the order of trying them: by rank, those without weight, the addresses', those of old."""
        ranked = sorted(self._listed, key=lambda each: each.weight <= 0)
        return dict.fromkeys(each.url for each in (*ranked, *self._own, *self._former))

    def _closes_at(self, url: str) -> float:
        breaker = self._breakers.get(url)
        return breaker.open_until if breaker is not None else -inf


def _first(preferred: str, urls: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*([preferred] if preferred else []), *urls]))[:CANDIDATES_MAX]


def _drawn(endpoints: Sequence[Endpoint], uniform: float) -> str:
    mark = uniform * sum(each.weight for each in endpoints)
    for each in endpoints:
        mark -= each.weight
        if mark < 0:
            return each.url
    return endpoints[-1].url
