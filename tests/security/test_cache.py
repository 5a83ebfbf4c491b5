"""Cache and bus over TLS. The server that tests have knows none, so a front before it speaks it."""

from pathlib import Path

import pytest

from posthouse.app.caches import caches
from posthouse.app.config import load
from posthouse.kit.clock import SystemClock
from posthouse.testing.valkey import LocalValkey
from posthouse.valkey.link import Misconfigured
from tests.security.serving import until
from tests.valkey.certificate import write_certificate
from tests.valkey.test_deployment import tls_before

PASSWORD = "the-password-of-the-cache"


async def test_routes_leases_and_the_bus_work_over_tls(tmp_path: Path) -> None:
    """With messages both small and of many TLS records."""
    ca = write_certificate(tmp_path)
    with LocalValkey(password=PASSWORD) as server:
        async with tls_before(server.port, tmp_path) as port:
            url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0?ca={ca}"
            made = caches(load(None, {}, {"cache.url": url}).config, SystemClock(), 1)
            await made.start()
            await made.routes.keep("one")
            await made.routes.register("one", [("app", "c")])
            assert await made.routes.gateways([("app", "c")], ["one"]) == [frozenset({"one"})]
            assert (await made.leases.take("repair", "one", 60)).holder == "one"
            heard: list[bytes] = []
            await made.bus.subscribe("one", heard.append)
            messages = [b"small", b"x" * 200_000]
            for message in messages:
                assert await made.bus.publish("one", message)
            await until(lambda: heard == messages)
            await made.bus.unsubscribe("one")
            await made.close()


async def test_a_cache_that_nobody_vouches_for_gets_no_password(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    with LocalValkey(password=PASSWORD) as server:
        async with tls_before(server.port, tmp_path) as port:
            url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0"
            made = caches(load(None, {}, {"cache.url": url}).config, SystemClock(), 1)
            with pytest.raises(Misconfigured, match="not trusted") as raised:
                await made.start()
            assert PASSWORD not in str(raised.value)
            await made.close()
