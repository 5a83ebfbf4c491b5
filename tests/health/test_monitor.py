"""The monitor on this very process: it sees work, lag and descriptors, and costs next to nothing."""

import asyncio
import errno
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import SimpleNamespace

import psutil
import pytest
import uvloop

from posthouse.health import monitor as monitor_module
from posthouse.health.cgroup import Cgroup, Places
from posthouse.health.monitor import Monitor
from posthouse.kit.clock import ManualClock, SystemClock
from posthouse.kit.tasks import Tasks

UNLIMITED = Cgroup(Places((), ()))
COST_MS_PER_S_MAX = 1.0


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def monitor(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Monitor]:
    """One whose seconds are a fifth of one."""
    monkeypatch.setattr(monitor_module, "SAMPLE_INTERVAL_S", 0.2)
    monkeypatch.setattr(monitor_module, "LAG_INTERVAL_IDLE_S", 0.02)
    clock = SystemClock()
    tasks = Tasks(clock)
    monitor = Monitor(clock, lambda: 12, cgroup=UNLIMITED)
    tasks.supervise("monitor", monitor.run)
    yield monitor
    await tasks.close()


async def until_sampled(monitor: Monitor) -> None:
    before = monitor.vitals
    while monitor.vitals is before:  # noqa: ASYNC110 - nobody is told of a sample
        await asyncio.sleep(0.01)


async def test_a_loop_that_is_held_up_is_seen_to_lag(monitor: Monitor) -> None:
    await until_sampled(monitor)
    await asyncio.sleep(0.05)
    held_until = time.monotonic() + 0.3
    while time.monotonic() < held_until:
        pass
    await until_sampled(monitor)
    assert monitor.vitals.loop_lag_max_ms > 200
    assert monitor.vitals.cpu > 0.02
    assert monitor.vitals.loop_lag_ms <= monitor.vitals.loop_lag_max_ms


async def test_descriptors_tasks_and_memory_are_counted(monitor: Monitor) -> None:
    await until_sampled(monitor)
    before = monitor.vitals
    sockets = [socket.socket() for _ in range(20)]
    await until_sampled(monitor)
    after = monitor.vitals
    for each in sockets:
        each.close()
    assert after.descriptors >= before.descriptors + 20
    assert 0 < after.descriptors_share < 1
    assert after.tasks == 12
    assert after.resident_bytes > 1 << 20
    assert 0 < after.memory <= 1


def counted(monkeypatch: pytest.MonkeyPatch, **sent: int) -> None:
    """What each interface has sent so far."""
    found = {name: SimpleNamespace(bytes_recv=0, bytes_sent=count) for name, count in sent.items()}
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: found)


@pytest.mark.parametrize(
    ("configured", "speed", "share"),
    [(0.0, 80, 0.05), (1e6, 0, 0.5), (2e6, 80, 0.25), (0.0, 10, 0.0), (0.0, 0, 0.0)],
)
async def test_the_networks_share_is_of_what_was_configured_or_what_the_interface_tells(
    monkeypatch: pytest.MonkeyPatch, configured: float, speed: int, share: float
) -> None:
    """In a second 500 kB went out, and much more stayed on the machine."""
    monkeypatch.setattr(monitor_module, "outward_address", lambda family: "10.0.0.9")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": [SimpleNamespace(address="10.0.0.9")]})
    monkeypatch.setattr(psutil, "net_if_stats", lambda: {"eth0": SimpleNamespace(speed=speed)})
    counted(monkeypatch, eth0=0, lo=0)
    clock = ManualClock()
    monitor = Monitor(clock, network_bytes_per_s_max=configured, cgroup=UNLIMITED)
    counted(monkeypatch, eth0=500_000, lo=10**9)
    await clock.advance(1.0)
    assert monitor.sample().network == pytest.approx(share)


def test_a_sample_is_cheap() -> None:
    """The best of some tries, since other programs share the machine: one second's sample, and the limits' share."""
    monitor = Monitor(SystemClock())
    costs = []
    for _ in range(20):
        began = time.process_time()
        for _ in range(monitor_module.SAMPLES_BETWEEN_LIMITS):
            monitor.sample()
        costs.append((time.process_time() - began) * 1000 / monitor_module.SAMPLES_BETWEEN_LIMITS)
    assert min(costs) < COST_MS_PER_S_MAX / 2


async def test_it_goes_on_when_no_descriptor_was_left_for_a_sample(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Monitor) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    await until_sampled(monitor)
    with monkeypatch.context() as short:
        short.setattr(Monitor, "_read", fail)
        before = monitor.vitals
        assert monitor.sample() is before
    await until_sampled(monitor)
