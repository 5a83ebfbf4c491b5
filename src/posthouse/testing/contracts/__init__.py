"""Contract suites: what every engine of a port must do. An engine's tests subclass a suite and open the engine."""

import pytest

pytest.register_assert_rewrite(
    "posthouse.testing.contracts.storage",
    "posthouse.testing.contracts.bus",
    "posthouse.testing.contracts.routes",
)
