"""Generated secrets: made once, kept for ever, shown to nobody else."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from posthouse.app.config import App, Config, Key
from posthouse.app.config.values import Auth, Data
from posthouse.app.secrets import FILE, SecretsError, credentials, load, load_or_create
from posthouse.auth.keys import ApiKeys
from posthouse.auth.resume import ResumeTokens
from posthouse.auth.tokens import TokenIssuer, TokenVerifier

SECRET = "a secret of at least thirty-two bytes"


def config(folder: Path, **rooms: object) -> Config:
    return msgspec.structs.replace(Config(), data=Data(folder=str(folder)), **rooms)


def test_the_first_start_makes_secrets_and_the_next_reads_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    assert load_or_create(folder) == load_or_create(folder) == load(folder)


def test_no_two_folders_get_the_same_secrets(tmp_path: Path) -> None:
    first, second = load_or_create(tmp_path / "a"), load_or_create(tmp_path / "b")
    values = [*msgspec.structs.astuple(first)[1:], *msgspec.structs.astuple(second)[1:]]
    assert len(set(values)) == len(values)


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_of_many_who_start_at_once_all_use_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(lambda _: load_or_create(tmp_path).secret, range(64)))
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("content", [b"", b"{", b'{"kid":"k"}', b"\xff", b"[]"])
def test_a_damaged_file_is_named_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(SecretsError, match=FILE):
        load_or_create(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretsError, match="data folder"):
        load_or_create(tmp_path / "file" / "data")


def test_reading_before_the_first_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="ever started"):
        load(tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_secret_shows_in_a_repr(tmp_path: Path) -> None:
    made = load_or_create(tmp_path)
    shown = repr(made) + repr(credentials(config(tmp_path)))
    assert not any(value in shown for value in (made.secret, made.api_key, made.resume_secret))


def test_without_configured_apps_there_is_one_that_works(tmp_path: Path) -> None:
    found = credentials(config(tmp_path))
    token = TokenIssuer(found.apps).issue("default", "alice", now_s=0, ttl_s=60)
    assert TokenVerifier(found.apps, ttl_s_max=60).verify(token, 1).app == "default"
    hashes = [(app, each) for app, keys in found.apps.items() for each in keys.api_key_hashes]
    assert ApiKeys(hashes).app_of(load(tmp_path).api_key) == "default"
    ResumeTokens(found.resume_secret)


def test_configured_apps_take_the_place_of_the_default_one(tmp_path: Path) -> None:
    acme = App(
        keys=(
            Key(kid="k1", alg="HS256", secret=SECRET),
            Key(kid="k0", alg="HS256", secret=SECRET, retired=True),
        )
    )
    found = credentials(config(tmp_path, apps={"acme": acme}))
    assert list(found.apps) == ["acme"]
    assert [key.retired for key in found.apps["acme"].signing] == [False, True]
    assert found.resume_secret == load(tmp_path).resume_secret


def test_nothing_is_written_when_everything_is_configured(tmp_path: Path) -> None:
    found = credentials(config(tmp_path / "data", apps={"acme": App()}, auth=Auth(resume_secret=SECRET)))
    assert found.resume_secret == SECRET
    assert not (tmp_path / "data").exists()
