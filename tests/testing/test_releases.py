"""The release before is the code as it was just before a migration came."""

from pathlib import Path

import pytest

from posthouse.testing.releases import MIGRATIONS, NoHistory, commit_before, unpack


def test_the_release_before_a_migration_lacks_it_and_has_the_earlier_ones(tmp_path: Path) -> None:
    try:
        source = unpack(commit_before(2), tmp_path)
    except NoHistory as error:
        pytest.skip(str(error))
    assert source == tmp_path / "src"
    assert len(list((tmp_path / MIGRATIONS).glob("*.sql"))) == 1


def test_a_commit_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoHistory, match="no history"):
        unpack("0" * 40, tmp_path)
