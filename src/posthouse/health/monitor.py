"""Watches the node's own process: one sample a second, and how late its event loop is, many times a second.

Runs in the event loop that it watches. Costs below a millisecond a second: waking an idle loop is what costs, so an
idle one is measured more seldom.
"""

import asyncio
import errno
import os
import resource
import socket
import time
from collections.abc import Callable

import psutil

from posthouse.health.cgroup import Cgroup
from posthouse.health.vitals import Allowance, Reading, Vitals, vitals
from posthouse.kit.address import outward_address
from posthouse.kit.clock import Clock

SAMPLE_INTERVAL_S = 1.0
LAG_INTERVAL_IDLE_S, LAG_INTERVAL_BUSY_S = 0.25, 0.02
BUSY_CPU_SHARE = 0.5
LAGS_MAX = 1_000
"""Measurements kept between two samples; when the sampler itself is late, later ones are left out."""
SAMPLES_BETWEEN_LIMITS = 15
"""Limits change seldom, and reading what a group holds makes the kernel add up: every so many samples is enough."""
DESCRIPTORS = "/proc/self/fd"
NONE_LEFT = {errno.EMFILE, errno.ENFILE}
TUNNEL_MBIT_PER_S = 10
"""What Linux says of tunnels, whatever they carry."""
LOOPBACKS = ("lo", "lo0")
"""What stays on the machine takes nothing of its network."""


class Monitor:
    """The vital signs of this process. `run` is the loop; `vitals` is the last second's."""

    def __init__(
        self,
        clock: Clock,
        tasks: Callable[[], int] = lambda: 0,
        *,
        network_bytes_per_s_max: float = 0.0,
        cgroup: Cgroup | None = None,
    ) -> None:
        """`tasks` counts the background tasks. `network_bytes_per_s_max` 0: as the interface tells, and if it
        tells nothing the share is 0."""
        self.vitals = Vitals()
        self.tasks = tasks
        self._clock = clock
        self._network_bytes_per_s_max = network_bytes_per_s_max
        self._cgroup = cgroup or Cgroup.of_this_process()
        self._process = psutil.Process()
        self._allowed = self._allowance()
        self._before = self._read()
        self._samples = 0
        self._lags_ms: list[float] = []
        self._beaten_at = 0.0
        self._interval_s = LAG_INTERVAL_IDLE_S
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Sample for ever."""
        loop = asyncio.get_running_loop()
        self._beaten_at = self._clock.monotonic()
        self._timer = loop.call_later(self._interval_s, self._beat, loop)
        try:
            while True:
                await self._clock.sleep(SAMPLE_INTERVAL_S)
                self.sample()
        finally:
            self._timer.cancel()

    def sample(self) -> Vitals:
        """Close the second: what happened since the last sample. While no descriptor is left, it stays open."""
        try:
            return self._sample()
        except OSError as error:
            if error.errno not in NONE_LEFT:
                raise
            return self.vitals

    def _sample(self) -> Vitals:
        self._samples += 1
        if self._samples % SAMPLES_BETWEEN_LIMITS == 0:
            self._allowed = self._allowance()
        before, self._before = self._before, self._read()
        lags, self._lags_ms = self._lags_ms, []
        self.vitals = vitals(before, self._before, self._allowed, lags)
        return self.vitals

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._clock.monotonic()
        late_s = now - self._beaten_at - self._interval_s
        if len(self._lags_ms) < LAGS_MAX:
            self._lags_ms.append(max(0.0, late_s * 1000))
        self._beaten_at = now
        self._interval_s = LAG_INTERVAL_BUSY_S if self.vitals.cpu >= BUSY_CPU_SHARE else LAG_INTERVAL_IDLE_S
        self._timer = loop.call_later(self._interval_s, self._beat, loop)

    def _read(self) -> Reading:
        cpu = self._process.cpu_times()
        interfaces = psutil.net_io_counters(pernic=True, nowrap=False).items()
        network = [counted for name, counted in interfaces if name not in LOOPBACKS]
        return Reading(
            at=self._clock.monotonic(),
            cpu_s=cpu.user + cpu.system,
            loop_cpu_s=time.thread_time(),
            throttled_s=self._cgroup.throttled_s() if self._quota else 0.0,
            resident_bytes=self._process.memory_info().rss,
            received_bytes=sum(each.bytes_recv for each in network),
            sent_bytes=sum(each.bytes_sent for each in network),
            descriptors=self._descriptors(),
            tasks=self.tasks(),
        )

    def _descriptors(self) -> int:
        """Since Linux 6.2 the size of the folder; before, listing it, which takes long when there are many."""
        counted = os.stat(DESCRIPTORS).st_size if os.path.exists(DESCRIPTORS) else 0  # noqa: PTH110, PTH116
        return counted or self._process.num_fds()

    def _allowance(self) -> Allowance:
        machine = psutil.virtual_memory()
        self._quota = self._cgroup.cores()
        limit, held = self._cgroup.memory_bytes_max(), self._cgroup.memory_bytes()
        limited = limit is not None and limit < machine.total
        held_share = (held or 0) / limit if limited and limit else 1 - machine.available / machine.total
        return Allowance(
            cores=min(self._quota or float("inf"), _cores()),
            memory_bytes=limit if limited and limit else machine.total,
            held_share=held_share,
            descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            network_bytes_per_s=self._network_bytes_per_s_max or interface_bytes_per_s(),
        )


def interface_bytes_per_s() -> float:
    """The speed of the interface towards the outside, in each direction; 0.0 where it tells none that is true."""
    own = outward_address(socket.AF_INET)
    for name, addresses in psutil.net_if_addrs().items():
        if own in [each.address for each in addresses]:
            told = psutil.net_if_stats().get(name)
            return told.speed * 1e6 / 8 if told is not None and told.speed > TUNNEL_MBIT_PER_S else 0.0
    return 0.0


def _cores() -> float:
    """The cores this process may run on."""
    return float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
