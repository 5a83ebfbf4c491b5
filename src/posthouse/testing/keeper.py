"""Cleans up after an owner that was killed: a small shell process that holds a pipe to it, and acts when that closes.

The script reads one line for each change: the process id of the server that runs, or nothing once it has ended.
"""

import contextlib
import subprocess
from pathlib import Path


class Keeper:
    """Runs from its making on; `close` returns once the script has cleaned up. `arguments` are its $1, $2 …"""

    def __init__(self, script: str, *arguments: str | Path) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", script, "posthouse-keeper", *arguments],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C reaches the owner, which then ends its servers in order
            bufsize=0,
        )

    def tell(self, pid: int | None) -> None:
        """Which process to end with the owner."""
        assert self._shell.stdin is not None
        # Somebody may have killed the keeper; then the owner closes what it can.
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.write(b"%d\n" % pid if pid else b"\n")

    def begin_to_close(self) -> None:
        """Let the script do its work; wait for what it ends before `close`, if that is a child of the caller."""
        assert self._shell.stdin is not None
        self._shell.stdin.close()

    def close(self) -> None:
        """Let the script do its work, and wait for it."""
        self.begin_to_close()
        self._shell.wait()
