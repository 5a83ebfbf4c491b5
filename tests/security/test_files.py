"""What a server leaves in its folder is for its owner only, whatever the folder was like before."""

import os
import stat
from pathlib import Path

from posthouse.testing.servers import LocalServer


def test_nobody_else_on_the_machine_reads_messages_or_keys(tmp_path: Path) -> None:
    """Also where the folder is open to all and the shell that starts the server gives everything away."""
    data = tmp_path / "server" / "data"
    data.mkdir(parents=True)
    data.chmod(0o755)
    before = os.umask(0)
    try:
        with LocalServer(tmp_path / "server") as server:
            files = [path for path in data.rglob("*") if path.is_file()]
            assert {"posthouse.sqlite", "secrets.json"} <= {path.name for path in files}
            open_to_others = {path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077}
            assert not open_to_others
            server.stop()
    finally:
        os.umask(before)
