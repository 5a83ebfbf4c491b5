"""The bus of a cluster of one keeps the contract."""

import pytest

from posthouse.bus.base import Bus
from posthouse.bus.engines.memory import MemoryBus
from posthouse.testing.contracts.bus import BusContract


class TestMemoryBus(BusContract):
    @pytest.fixture
    def bus(self) -> Bus:
        return MemoryBus()
