"""Runs commands in this process, as `posthouse` would."""

import sys

from click.testing import CliRunner, Result

from posthouse.cli.root import root

COMMAND = (sys.executable, "-m", "posthouse")


def run(*args: str, typed: str | None = None, **environment: str) -> Result:
    """One command with its output and exit code. A fault of ours is raised, not counted as a failed command."""
    result = CliRunner(env=environment).invoke(root, args, prog_name="posthouse", input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
