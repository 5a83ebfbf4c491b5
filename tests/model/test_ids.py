"""Which ids there can be, and that derived ones follow from what they are derived from and nothing else."""

import unicodedata

import pytest
from hypothesis import given, strategies as st

from posthouse.model.errors import InvalidId
from posthouse.model.ids import (
    ACCOUNT_PREFIX,
    DIRECT_PREFIX,
    ID_BYTES_MAX,
    account_id,
    account_user,
    check_conversation_id,
    check_id,
    direct_id,
    shard_of,
)

ANYTHING = st.text(st.characters(exclude_categories=[]), max_size=140) | st.text(max_size=5)
SOME_TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)
IDS = SOME_TEXT.filter(lambda text: text == text.strip() and len(text.encode()) <= ID_BYTES_MAX)
NICKS = [
    "|trey|",
    "[foo]^",
    "{a}",
    "`x`",
    "a\\b",
    "_-_",
    "^",
    "~tilde",
    "=equals",
    "x y",
    "王小明",
    "ع",
    "😀",
    "e\u0301",
]


def is_valid(text: str) -> bool:
    """The rule P-7.2, said another way than the code says it."""
    categories = {unicodedata.category(char) for char in text}
    if not text or categories & {"Cc", "Cs"} or text[0].isspace() or text[-1].isspace():
        return False
    return len(text.encode("utf-8")) <= 128


@given(ANYTHING)
def test_an_id_is_valid_exactly_when_the_rule_says_so(text: str) -> None:
    if is_valid(text):
        assert check_id(text, "user") == text
    else:
        with pytest.raises(InvalidId):
            check_id(text, "user")


@pytest.mark.parametrize("nick", NICKS)
def test_real_nicks_are_valid_ids(nick: str) -> None:
    assert check_id(nick, "user") == nick


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a ",
        "\ta",
        "a\n",
        "\u00a0a",
        "a\u2028",
        "a\0b",
        "\x7f",
        "a\x85b",
        "\ud800",
        "a\udfffb",
        "\ud83d\ude00",
    ],
    ids=ascii,
)
def test_what_would_break_a_line_a_log_or_a_database_is_refused(text: str) -> None:
    with pytest.raises(InvalidId, match="user id"):
        check_id(text, "user")


@pytest.mark.parametrize(("char", "fits"), [("x", 128), ("é", 64), ("王", 42), ("😀", 32)])
def test_the_length_of_an_id_is_counted_in_bytes(char: str, fits: int) -> None:
    assert check_id(char * fits, "user")
    with pytest.raises(InvalidId, match="128 bytes"):
        check_id(char * (fits + 1), "user")


def test_the_message_names_what_is_wrong_and_not_the_id_itself() -> None:
    """A refusal may end up in a log; what a stranger sent must not."""
    with pytest.raises(InvalidId) as caught:
        check_id("secret\0", "device")
    assert "device id" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["~ann", "=abc", "~", "="])
def test_nobody_may_choose_an_id_that_looks_derived(text: str) -> None:
    """P-7.5."""
    with pytest.raises(InvalidId, match="derived"):
        check_conversation_id(text)


@given(IDS, IDS)
def test_a_direct_id_is_the_same_from_both_sides(first: str, second: str) -> None:
    """P-7.4."""
    assert direct_id(first, second) == direct_id(second, first)


@given(IDS, IDS)
def test_a_direct_id_is_a_valid_id_that_nobody_may_choose(first: str, second: str) -> None:
    derived = direct_id(first, second)
    assert check_id(derived, "conversation") == derived
    assert derived.startswith(DIRECT_PREFIX)
    assert len(derived) == 33
    with pytest.raises(InvalidId):
        check_conversation_id(derived)


@given(st.sets(st.frozensets(IDS, min_size=2, max_size=2), min_size=2, max_size=20))
def test_other_users_have_another_direct_id(pairs: set[frozenset[str]]) -> None:
    assert len({direct_id(*pair) for pair in pairs}) == len(pairs)


@given(SOME_TEXT, st.integers(1, 39))
def test_where_one_name_ends_and_the_other_begins_matters(text: str, cut: int) -> None:
    """Otherwise ("ab", "c") and ("a", "bc") would share a conversation."""
    cuts = [(text[:at], text[at:]) for at in range(1, len(text))]
    pairs = {frozenset(pair) for pair in cuts}
    assert len({direct_id(*pair) for pair in cuts}) == len(pairs)


@given(IDS)
def test_an_account_log_names_its_user_and_no_conversation_names_one(user: str) -> None:
    log = account_id(user)
    assert log.startswith(ACCOUNT_PREFIX)
    assert account_user(log) == user
    assert account_user(direct_id(user, "x")) is None
    with pytest.raises(InvalidId):
        check_conversation_id(log)


@given(IDS, IDS, st.integers(1, 256))
def test_a_shard_is_one_of_those_there_are(app: str, log: str, shards: int) -> None:
    assert 0 <= shard_of(app, log, shards) < shards


def test_logs_spread_evenly_over_the_shards() -> None:
    """10,000 logs over 64 shards: about 156 each; a bad hash would leave some empty."""
    counts = [0] * 64
    for n in range(10_000):
        counts[shard_of("default", f"conversation-{n}", 64)] += 1
    assert min(counts) > 100
    assert max(counts) < 220


def test_where_the_app_ends_and_the_log_begins_matters_to_the_shard() -> None:
    """P-7.6."""
    same = [shard_of("ab", f"c{n}", 64) == shard_of("abc", f"{n}", 64) for n in range(100)]
    assert not all(same)
