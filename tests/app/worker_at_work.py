"""A worker that does what its environment says, without being a node: run as a program by the supervisor's tests.

Writes one line to the journal for all it does: `NUMBER PID WORD`.
"""

import os
import signal
import socket
import sys
import time
from pathlib import Path

number, line, why = int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])), sys.argv[3]
folder = Path(os.environ["WORK_FOLDER"])


def tell(word: str) -> None:
    with (folder / "journal").open("a") as journal:
        journal.write(f"{number} {os.getpid()} {word}\n")


def finish(*_: object) -> None:
    tell("stopped")
    sys.exit(0)


if (folder / f"deaf-{number}").exists():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, finish)
tell(f"started: {why}")
if (folder / f"broken-{number}").exists():
    sys.exit(3)
line.sendall(b"ready 4711\n")
line.settimeout(0.05)
while True:
    try:
        line.sendall(b"beat\n")
        if not line.recv(1):
            break
    except TimeoutError:
        time.sleep(0)
    except OSError:
        break
tell("orphaned")
