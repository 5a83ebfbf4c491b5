"""One server at a time on a data folder."""

import os
from pathlib import Path

import pytest

from posthouse.app.lock import FolderInUse, FolderLock


def test_a_folder_in_use_is_refused_naming_its_owner_and_free_again_afterwards(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "data"), FolderLock(tmp_path / "data")
    first.acquire()
    with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    second.release()
