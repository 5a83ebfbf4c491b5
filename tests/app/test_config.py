"""The configuration: typed, merged in a known order, and never silently misunderstood."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from posthouse.app.config import Config, ConfigError, load, render, sample
from posthouse.app.config.fields import fields, rooms
from posthouse.app.config.values import Key

SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "posthouse.toml"


def test_without_any_source_everything_has_its_default() -> None:
    assert load() == (Config(), {})


def test_a_flag_wins_over_the_environment_and_the_environment_over_the_file(file: Path) -> None:
    file.write_text("[listen]\nport = 1\nhost = 'file'\npublic_url = 'http://file'\n")
    environment = {"POSTHOUSE_LISTEN_PORT": "2", "POSTHOUSE_LISTEN_HOST": "environment"}
    config, origins = load(file, environment, {"listen.port": 3, "listen.host": None})
    assert (config.listen.port, config.listen.host, config.listen.public_url) == (
        3,
        "environment",
        "http://file",
    )
    assert origins == {
        "listen.port": "flag",
        "listen.host": "environment POSTHOUSE_LISTEN_HOST",
        "listen.public_url": str(file),
    }


def test_the_environment_gives_numbers_truths_and_lists_as_text() -> None:
    environment = {
        "POSTHOUSE_LIMITS_LOGINS_PER_S": "0.5",
        "POSTHOUSE_API_USERS_EDIT_PROFILE": "false",
        "POSTHOUSE_LISTEN_ALLOWED_ORIGINS": "https://a.example, https://b.example",
    }
    config = load(None, environment).config
    assert config.limits.logins_per_s == 0.5
    assert config.api.users_edit_profile is False
    assert config.listen.allowed_origins == ("https://a.example", "https://b.example")


def test_variables_of_others_are_left_alone() -> None:
    """An orchestrator sets such for a service that is called posthouse."""
    others = {
        "POSTHOUSE_SERVICE_HOST": "10.0.0.1",
        "POSTHOUSE_PORT_8080_TCP": "tcp://x",
        "POSTHOUSE_CONFIG": "x",
        "PATH": "/bin",
    }
    assert load(None, others) == (Config(), {})


def test_every_key_can_be_set_by_the_environment_and_by_a_flag() -> None:
    """No room's name contains an underscore, so that a variable's name says which key it means."""
    defaults = tomllib.loads(render(Config()))
    for name in rooms():
        for key, value in defaults[name].items():
            text = (
                ",".join(value)
                if isinstance(value, list)
                else str(value).lower()
                if isinstance(value, bool)
                else str(value)
            )
            assert load(None, {f"POSTHOUSE_{name.upper()}_{key.upper()}": text}).config == Config(), key
            assert load(None, None, {f"{name}.{key}": value}).config == Config(), key


FILES = {
    "[listen]\nprot = 1": "unknown key listen.prot; did you mean listen.port?",
    "[listn]\nport = 1": "unknown key listn; did you mean listen?",
    "port = 1": "unknown key port; did you mean",
    "[node]\nport = 1": "unknown key node.port",
    "[limits]\nframe_max_bytes = 1": "did you mean limits.frame_bytes_max?",
    "listen = 5": "listen must be a table ([listen]), not 5",
    "[listen]\nport = '8080'": "listen.port must be a whole number from 0 to 65535, not '8080'",
    "[listen]\nport = 8080.5": "listen.port must be a whole number from 0 to 65535, not 8080.5",
    "[listen]\nport = true": "listen.port must be a whole number",
    "[listen]\nport = 65536": "from 0 to 65535, not 65536",
    "[listen]\nallowed_origins = 'x'": "listen.allowed_origins must be a list of texts",
    "[listen]\nallowed_origins = [1]": "listen.allowed_origins must be a list of texts",
    "[listen]\npublic_url = 'chat.example.com'": "of the form: http:// or https:// and a host",
    "[limits]\nin_flight_max = 0": "a whole number of 1 or more, not 0",
    "[limits]\nlogins_per_s = -1": "a number above 0, not -1",
    "[limits]\nlogins_per_s = nan": "a number above 0",
    "[limits]\nlogins_per_s = inf": "a number above 0",
    "[limits]\noutbox_bytes_max = 100": "limits.outbox_bytes_max must not be below limits.frame_bytes_max",
    "[api]\nusers_edit_profile = 1": "api.users_edit_profile must be true or false, not 1",
    "[log]\nlevel = 'loud'": "log.level must be one of debug, info, warning, error, not 'loud'",
    "[data]\nfolder = ''": "data.folder must be text, not empty",
    "[database]\nurl = 'mysql://x'": "database.url must be text of the form: sqlite or postgresql://",
    "[auth]\ntoken_ttl_s = 100\ntoken_ttl_s_max = 99": "auth.token_ttl_s must not be above",
    "[auth]\nresume_secret = 'short'": "auth.resume_secret must have at least 32 bytes",
    "[apps]\nacme = 1": "apps.acme must be a table",
    "[apps.'']": "app id must be",
    "[apps.acme]\nkey = []": "unknown key apps.acme.key; did you mean apps.acme.keys?",
    "[apps.acme]\nkeys = 1": "apps.acme.keys must be a list of tables",
    "[apps.acme]\nkeys = [1]": "apps.acme.keys[0] must be a table",
    "[[apps.acme.keys]]\nkid = 'k'": "apps.acme.keys[0] lacks alg",
    "[[apps.acme.keys]]\nkid = 'k'\nalg = 'RS256'": "alg must be one of HS256, EdDSA, not 'RS256'",
    "[[apps.acme.keys]]\nkid = 'k'\nalg = 'HS256'\nsecrt = 'x'": "did you mean apps.acme.keys[0].secret?",
    "[apps.acme]\napi_key_hashes = ['ph_the-key-itself']": "apps.acme.api_key_hashes must be",
    "[listen": "is not TOML",
    "[listen]\nport = 1\nport = 2": "is not TOML",
}


@pytest.mark.parametrize("text", FILES)
def test_a_mistake_is_named_with_its_file_and_what_would_be_right(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert FILES[text] in str(caught.value)
    together = str(caught.value).startswith(("limits.", "auth."))
    assert together or str(caught.value).startswith(f"{file}: ")


def test_a_file_that_is_not_there_or_not_text_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(file)


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("POSTHOUSE_LISTEN_PROT", "did you mean listen.port"),
        ("POSTHOUSE_LISTN_PORT", "did you mean listen.port"),
    ],
)
def test_a_misspelt_variable_is_not_ignored(variable: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as caught:
        load(None, {variable: "1"})
    assert variable in str(caught.value)


def test_a_flag_that_is_no_key_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"flag: unknown key listen\.prot"):
        load(None, None, {"listen.prot": 1})


def test_no_secret_appears_in_an_error(file: Path) -> None:
    file.write_text("[auth]\nresume_secret = ['hunter2hunter2hunter2hunter2hunter2']\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert "hunter2" not in str(caught.value)
    file.write_text("[database]\nurl = 'mysql://me:hunter2@host/db'\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["database.url", "database.replicas", "databases.second.url"])
def test_an_address_that_is_none_is_refused_before_anything_starts(file: Path, key: str) -> None:
    """And without its password."""
    room, _, name = key.rpartition(".")
    file.write_text(f"[{room}]\n{name} = 'postgresql://me:hunter2@[::1/db'\n")
    with pytest.raises(ConfigError, match=f"{key}: is no address") as caught:
        load(file)
    assert "hunter2" not in str(caught.value)


# Apps -------------------------------------------------------------------------------------------------------------


def test_apps_and_their_keys_are_read(file: Path) -> None:
    file.write_text(
        f"[apps.acme]\napi_key_hashes = ['{'a' * 64}']\n"
        f"[[apps.acme.keys]]\nkid = 'k1'\nalg = 'HS256'\nsecret = '{SECRET}'\n"
        "[[apps.acme.keys]]\nkid = 'k0'\nalg = 'EdDSA'\npublic_key = 'AAAA'\nretired = true\n[apps.'b c']\n"
    )
    apps = load(file).config.apps
    assert list(apps) == ["acme", "b c"]
    assert apps["acme"].keys == (
        Key(kid="k1", alg="HS256", secret=SECRET),
        Key(kid="k0", alg="EdDSA", public_key="AAAA", retired=True),
    )


# Text -------------------------------------------------------------------------------------------------------------


def test_the_sample_changes_nothing(file: Path) -> None:
    file.write_text(sample())
    assert load(file).config == Config()


def test_the_sample_shows_every_key_with_its_default_and_explains_it(file: Path) -> None:
    rooms_only = sample().partition("# [databases.main]")[0]
    file.write_text(re.sub(r"^# (?=\w+ = )", "", rooms_only, flags=re.MULTILINE))
    config, origins = load(file)
    assert config == Config()
    assert set(origins) == {f"{name}.{key}" for name, room in rooms().items() for key in fields(room)}
    assert all(field.description for room in rooms().values() for field in fields(room).values())


def test_the_samples_app_is_a_working_app_once_it_is_uncommented(file: Path) -> None:
    app = "# [apps.example]" + sample().partition("# [apps.example]")[2]
    file.write_text(re.sub(r"^# (?=\w+ = |\[)", "", app, flags=re.MULTILINE))
    assert load(file).config.apps["example"].keys[0].alg == "HS256"


def test_the_sample_fits_a_terminal() -> None:
    assert max(map(len, sample().splitlines())) <= 120


def test_what_is_shown_says_where_each_value_comes_from(file: Path) -> None:
    file.write_text("[listen]\nport = 1\n")
    shown = render(*load(file, {"POSTHOUSE_NODE_NAME": "n1"}))
    assert f"port = 1  # {file}" in shown
    assert 'name = "n1"  # environment POSTHOUSE_NODE_NAME' in shown
    assert 'host = "127.0.0.1"\n' in shown


def test_what_is_shown_holds_no_secret(file: Path) -> None:
    file.write_text(
        f"[auth]\nresume_secret = '{SECRET}'\n"
        "[database]\nurl = 'postgresql://me:p@ss:word@host/db?password=hunter2'\n"
        f"[[apps.acme.keys]]\nkid = 'k1'\nalg = 'HS256'\nsecret = '{SECRET}'\n"
        f"[[apps.acme.keys]]\nkid = 'k2'\nalg = 'EdDSA'\nprivate_key = '{SECRET}'\n"
    )
    shown = render(*load(file))
    assert SECRET not in shown
    assert "postgresql://me:********@host/db?password=********" in shown
    assert shown.count("********") == 5


def test_what_is_shown_can_be_read_back(file: Path) -> None:
    file.write_text(
        "[listen]\nport = 1\n[api]\nusers_edit_profile = false\n[apps.'a.b \"c\"']\n"
        "[[apps.'a.b \"c\"'.keys]]\nkid = 'k'\nalg = 'EdDSA'\npublic_key = '''-----BEGIN\nx'''\n"
    )
    config = load(file).config
    file.write_text(render(config))
    assert load(file).config == config


Values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), st.lists, max_leaves=5
)


@given(
    st.dictionaries(
        st.sampled_from([f"{n}.{k}" for n, r in rooms().items() for k in fields(r)]), Values, max_size=3
    )
)
def test_no_value_raises_anything_but_a_config_error(flags: dict[str, Any]) -> None:
    try:
        config = load(None, None, flags).config
    except ConfigError:
        return
    assert msgspec.convert(msgspec.to_builtins(config), Config) == config


def test_names_of_the_services_own_apps_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "posthouse.toml"
    file.write_text('[apps."~canary"]\n')
    with pytest.raises(ConfigError, match="names that begin with ~ are the service's own"):
        load(file)


def test_a_worker_is_not_killed_while_it_drains() -> None:
    with pytest.raises(ConfigError, match=r"workers.stop_timeout_s must be above drain.window_s"):
        load(flags={"workers.count": 2, "drain.window_s": 60.0})
