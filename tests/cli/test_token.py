"""`posthouse token`: who may make one, and what it says."""

import json
from pathlib import Path

from posthouse.app.config import load
from posthouse.app.secrets import credentials, load_or_create
from posthouse.auth.tokens import TokenVerifier
from posthouse.cli.failure import Exit
from tests.cli.running import run

NOW_TOLERANCE_S = 60


def verified(token: str, folder: str, now_s: float) -> tuple[str, str, str]:
    """(app, user, device) as a server with that data folder reads the token."""
    apps = credentials(load(flags={"data.folder": folder}).config).apps
    identity = TokenVerifier(apps, ttl_s_max=86_400).verify(token, now_s)
    return identity.app, identity.user, identity.device


def test_a_server_with_that_data_folder_accepts_it() -> None:
    load_or_create(Path("posthouse-data"))
    made = json.loads(run("token", "ann", "--ttl", "15m", "--json").stdout)
    assert verified(made["token"], "posthouse-data", made["expires_s"] - 899) == ("default", "ann", "")


def test_it_is_all_there_is_on_standard_output() -> None:
    load_or_create(Path("elsewhere"))
    result = run("token", "|trey|", "--data", "elsewhere", "--device", "d1")
    token = result.stdout.removesuffix("\n")
    assert token.count(".") == 2
    assert "\n" not in token


def test_it_is_good_for_the_device_it_was_made_for() -> None:
    load_or_create(Path("posthouse-data"))
    made = json.loads(run("token", "ann", "--device", "d1", "--json").stdout)
    assert verified(made["token"], "posthouse-data", made["expires_s"] - 1) == ("default", "ann", "d1")


def test_without_keys_nothing_is_made_up_and_no_folder_is_left() -> None:
    result = run("token", "ann")
    assert result.exit_code == Exit.UNAUTHORIZED
    assert "posthouse up" in result.stderr
    assert not Path("posthouse-data").exists()


def test_a_token_that_the_server_would_refuse_is_not_made() -> None:
    load_or_create(Path("posthouse-data"))
    result = run("token", "ann", "--ttl", "400d")
    assert result.exit_code == Exit.USAGE
    assert "at most 86400 s" in result.stderr


def test_an_impossible_user_is_refused() -> None:
    load_or_create(Path("posthouse-data"))
    result = run("token", " ann")
    assert result.exit_code == Exit.USAGE
    assert "white space" in result.stderr


APPS = """
[apps.shop]
keys = [{kid = "k1", alg = "HS256", secret = "0123456789abcdef0123456789abcdef"}]
[apps.bank]
keys = [{kid = "k1", alg = "HS256", secret = "fedcba9876543210fedcba9876543210"}]
[apps.club]
keys = [{kid = "k1", alg = "EdDSA", public_key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]
"""


def test_among_several_apps_one_is_named() -> None:
    Path("posthouse.toml").write_text(APPS)
    assert "bank, club, shop" in run("token", "ann", "--config", "posthouse.toml").stderr
    assert run("token", "ann", "--config", "posthouse.toml", "--app", "shop").exit_code == Exit.OK
    assert "no app 'shoe'" in run("token", "ann", "--config", "posthouse.toml", "--app", "shoe").stderr


def test_an_app_that_signs_its_tokens_itself_is_told_apart() -> None:
    Path("posthouse.toml").write_text(APPS)
    result = run("token", "ann", "--config", "posthouse.toml", "--app", "club")
    assert result.exit_code == Exit.UNAUTHORIZED
    assert "signs its tokens itself" in result.stderr
