"""The import contracts in pyproject.toml fire: each is shown a small package that breaks it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tidy.source import ROOT

SOUND = {
    "__init__.py": "",
    "kit/__init__.py": "",
    "kit/clock.py": "import time",
    "balance/__init__.py": "",
    "model/__init__.py": "",
    "protocol/__init__.py": "",
    "storage/__init__.py": "",
    "storage/base.py": "import posthouse.model",
    "storage/engines/__init__.py": "",
    "storage/engines/sqlite.py": "import posthouse.storage.base",
    "auth/__init__.py": "",
    "messaging/__init__.py": "",
    "messaging/fanout.py": "import posthouse.model",
    "gateway/__init__.py": "import posthouse.messaging.fanout",
    "app/__init__.py": "",
    "app/build.py": "import posthouse.gateway, posthouse.storage.engines.sqlite",
    "cli/__init__.py": "import posthouse.app",
}

# What is written over the sound package → the contract that must break.
BREACHES = {
    "an import upwards": ({"storage/base.py": "import posthouse.messaging"}, "Imports point down"),
    "a sibling": ({"storage/base.py": "import posthouse.auth"}, "Imports point down"),
    "a model that knows frames": ({"model/entry.py": "import posthouse.protocol"}, "Imports point down"),
    "an import upwards by a detour": (
        {"kit/detour.py": "import posthouse", "__init__.py": "import posthouse.app"},
        "Imports point down",
    ),
    "a room without a floor": ({"lobby/__init__.py": ""}, "Imports point down"),
    "a cycle inside a room": (
        {
            "storage/plan.py": "import posthouse.storage.base",
            "storage/base.py": "import posthouse.storage.plan",
        },
        "No two modules of one folder",
    ),
    "a port that knows its engine": (
        {"storage/base.py": "import posthouse.storage.engines.sqlite"},
        "Only app and testing name an engine",
    ),
    "an engine named outside app": (
        {"gateway/session.py": "import posthouse.storage.engines.sqlite"},
        "Only app and testing name an engine",
    ),
    "a pure room that reads the clock": ({"model/entry.py": "import time"}, "Pure rooms"),
    "a pure room that reads the clock through kit": (
        {"model/entry.py": "import posthouse.kit.clock"},
        "Pure rooms",
    ),
    "a pure module in a room that is not": ({"messaging/fanout.py": "import asyncio"}, "Pure rooms"),
}


def check_contracts(folder: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run this project's contracts on a package made of `files`."""
    for name, text in files.items():
        path = folder / "posthouse" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy(ROOT / "pyproject.toml", folder)
    command = [str(ROOT / ".venv/bin/lint-imports"), "--no-cache", "--config", "pyproject.toml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_sound_package_keeps_every_contract(tmp_path: Path) -> None:
    result = check_contracts(tmp_path, SOUND)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "BROKEN" not in result.stdout


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_breaks_its_contract(tmp_path: Path, breach: str) -> None:
    files, contract = BREACHES[breach]
    result = check_contracts(tmp_path, SOUND | files)
    broken = [line for line in result.stdout.splitlines() if line.endswith("BROKEN")]
    assert result.returncode == 1, result.stdout + result.stderr
    assert [line for line in broken if line.startswith(contract)], result.stdout + result.stderr
