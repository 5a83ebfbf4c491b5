"""A person at a terminal: types keys into a command, and reads the screen."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests.cli.running import COMMAND

ROWS, COLUMNS = 100, 100
"""High enough that nothing scrolls off."""
PATIENCE_S = 20.0
"""A client that lost its server comes back within some seconds."""


class Typist:
    """A command in a pseudo-terminal."""

    def __init__(self, *arguments: str, folder: Path, **environment: str) -> None:
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._modes = termios.tcgetattr(self._theirs)[:4]
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=folder,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        os.close(self._ours)

    @property
    def screen(self) -> list[str]:
        """The rows of the screen, without the empty ones at the end."""
        self._read(0.0)
        rows = [row.rstrip() for row in self._screen.display]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def text(self) -> str:
        """The rows as one text, each ended by a line break."""
        return "".join(f"{row}\n" for row in self.screen)

    def type(self, keys: str) -> None:
        """Press keys; "\\r" is Enter."""
        os.write(self._ours, keys.encode())

    def sees(self, wanted: str) -> None:
        """Wait until `wanted` can be read."""
        deadline = time.monotonic() + PATIENCE_S
        while wanted not in self.text:
            assert time.monotonic() < deadline, f"{wanted!r} did not appear in:\n{self.text}"
            self._read(0.1)

    def leaves(self) -> int:
        """Wait for the command's end; returns its exit code. The terminal is as it was before."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
            self._read(0.1)
        assert termios.tcgetattr(self._theirs)[:4] == self._modes
        return self.process.returncode

    def _read(self, wait_s: float) -> None:
        while select.select([self._ours], [], [], wait_s)[0]:
            data = os.read(self._ours, 65_536)
            self.raw += data
            self._stream.feed(data)
            wait_s = 0.0
