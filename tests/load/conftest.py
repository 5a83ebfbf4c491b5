"""Real input for tests of load: read where it lies beside the project, never copied into it."""

from pathlib import Path

import pytest

IRC_LOG = Path(__file__).parents[3] / "shared" / "data" / "chat" / "ubuntu-irc.jsonl.gz"


@pytest.fixture
def irc_log() -> Path:
    """The log of #ubuntu; the test is skipped where it is absent."""
    if not IRC_LOG.exists():
        pytest.skip(f"{IRC_LOG} is absent: real chat logs are not part of the project")
    return IRC_LOG
