"""Servers that the tests of one process share, one of each kind; each test has a prefix of its own on them."""

import asyncio
import functools
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from posthouse.testing.valkey import LocalValkey
from posthouse.testing.valkey_cluster import LocalValkeyCluster
from posthouse.testing.valkey_sentinel import LocalSentinel
from posthouse.valkey.address import parse
from posthouse.valkey.choosing import deployment
from posthouse.valkey.deployment import Deployment
from posthouse.valkey.link import LinkLimits

PATIENCE_S = 20
MODES = ("alone", "sentinel", "cluster")
PATIENT = LinkLimits(answer_timeout_s=5.0, connect_timeout_s=5.0)
"""For tests that are not about time: other tests may have the cores."""
BRISK = LinkLimits(answer_timeout_s=0.6, connect_timeout_s=0.6)
"""For tests that wait for servers to be given up."""

Site = LocalValkey | LocalSentinel | LocalValkeyCluster
_numbers = itertools.count(1)


class Sites:
    """The servers of one process, started when first asked for. What a test breaks it has `broken` mend again."""

    def __init__(self) -> None:
        self._sites: dict[str, Site] = {}

    def __getitem__(self, mode: str) -> Site:
        if mode not in self._sites:
            self._sites[mode] = started(mode)
        return self._sites[mode]

    @contextmanager
    def broken(self, mode: str) -> Iterator[Site]:
        """Servers to be killed and frozen; mended afterwards."""
        site = self[mode]
        try:
            yield site
        finally:
            mend(site)

    def close(self) -> None:
        for site in self._sites.values():
            site.close()


@functools.cache
def shared() -> Sites:
    """Closed by the fixture `sites` (conftest.py of the rooms that use it)."""
    return Sites()


@pytest.fixture(scope="session")
def sites() -> Iterator[Sites]:
    yield shared()
    shared().close()


def started(mode: str) -> Site:
    """Servers of one kind of one's own."""
    site: Site = {"alone": LocalValkey, "sentinel": LocalSentinel, "cluster": LocalValkeyCluster}[mode]()
    try:
        site.start()
    except BaseException:
        site.close()
        raise
    return site


def mend(site: Site) -> None:
    if not isinstance(site, LocalValkey):
        site.mend()
    elif site.running:
        site.thaw()
    else:
        site.start()


def fresh_prefix() -> str:
    """What no other test uses."""
    return f"test-{os.getpid()}-{next(_numbers)}"


@asynccontextmanager
async def linked(url: str, limits: LinkLimits = PATIENT) -> AsyncIterator[Deployment]:
    """A deployment that is up, closed at the end."""
    links = deployment(parse(url), limits=limits)
    try:
        await links.start(10.0)
        yield links
    finally:
        await links.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens in other processes."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (nobody there sets an event)
            await asyncio.sleep(0.01)
