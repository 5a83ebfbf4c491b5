"""For pytest, as `-p posthouse.testing.mutation.plugin`: the whole run lacks the safeguard named in the environment."""

import os
from contextlib import ExitStack

from posthouse.testing.mutation.breaking import broken
from posthouse.testing.mutation.safeguards import named

VARIABLE = "POSTHOUSE_WITHOUT"
_run = ExitStack()


def pytest_configure() -> None:
    """Before anything is collected."""
    _run.enter_context(broken(named(os.environ[VARIABLE]).patches))


def pytest_unconfigure() -> None:
    """After everything has run."""
    _run.close()
