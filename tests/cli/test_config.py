"""`posthouse config`: begin a file, check it, see what is in force."""

import json
from pathlib import Path

import pytest

from posthouse.cli.failure import Exit
from tests.cli.running import run


def test_the_file_it_begins_is_right_and_changes_nothing() -> None:
    assert run("config", "init").exit_code == Exit.OK
    result = run("config", "check")
    assert (result.exit_code, result.stdout) == (
        Exit.OK,
        "posthouse.toml is right: 0 keys set, the others have their defaults.\n",
    )


def test_a_file_that_exists_is_not_overwritten_unless_told() -> None:
    Path("posthouse.toml").write_text("mine")
    result = run("config", "init")
    assert result.exit_code == Exit.FAILED
    assert "--force" in result.stderr
    assert Path("posthouse.toml").read_text() == "mine"
    assert run("config", "init", "--force").exit_code == Exit.OK
    assert Path("posthouse.toml").read_text() != "mine"


def test_a_dash_writes_to_standard_output() -> None:
    assert "[listen]" in run("config", "init", "-").stdout
    assert not Path("posthouse.toml").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[listen]\nprot = 1", "listen.port"),
        ("[listen]\nport = 'x'", "whole number"),
        ("[listen", "is not TOML"),
        ('[apps.a]\nkeys = [{kid = "k", alg = "HS256", secret = "short"}]', "'k'"),
    ],
)
def test_check_says_what_is_wrong_and_fails(text: str, said: str) -> None:
    Path("posthouse.toml").write_text(text)
    result = run("config", "check")
    assert result.exit_code == Exit.FAILED
    assert said in result.stderr


def test_check_of_a_missing_file_says_how_to_begin_one() -> None:
    result = run("config", "check", "other.toml")
    assert result.exit_code == Exit.FAILED
    assert "posthouse config init other.toml" in result.stderr


def test_check_leaves_no_data_folder_behind() -> None:
    Path("posthouse.toml").write_text(
        '[apps.a]\nkeys = [{kid = "k", alg = "HS256", secret = "0123456789abcdef0123456789abcdef"}]'
    )
    assert run("config", "check").exit_code == Exit.OK
    assert not Path("posthouse-data").exists()


def test_show_says_where_each_value_comes_from_and_hides_secrets() -> None:
    Path("posthouse.toml").write_text("[listen]\nport = 1234\n[auth]\nresume_secret = '" + "s" * 40 + "'")
    text = run("config", "show", "--config", "posthouse.toml", POSTHOUSE_LOG_LEVEL="debug").stdout
    assert "port = 1234  # posthouse.toml" in text
    assert 'level = "debug"  # environment POSTHOUSE_LOG_LEVEL' in text
    assert "sss" not in text


def test_show_is_one_json_object_for_programs() -> None:
    shown = json.loads(run("config", "show", "--json", POSTHOUSE_LISTEN_PORT="99").stdout)
    assert shown["config"]["listen"]["port"] == 99
    assert shown["origins"] == {"listen.port": "environment POSTHOUSE_LISTEN_PORT"}
