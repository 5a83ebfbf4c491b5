"""Admission: what each user, app, connection and node may do at once, and memory of nobody who is idle."""

from posthouse.gateway.admission import Admission, Rates

RATES = Rates(
    sends_per_user_per_s=10.0,
    sends_per_user_burst=5.0,
    sends_per_app_per_s=100.0,
    sends_per_app_burst=50.0,
    logins_per_s=10.0,
    logins_burst=3.0,
)


def sends(admission: Admission, user: str, times: int, now: float = 0.0, app: str = "app") -> int:
    """How many of so many sends pass."""
    return sum(admission.send_wait_s(app, user, now) == 0.0 for _ in range(times))


def test_a_burst_passes_and_then_the_rate() -> None:
    admission = Admission(RATES, 0.0)
    assert sends(admission, "ann", 20) == 5
    assert sends(admission, "ann", 20, now=0.3) == 3
    assert admission.sends_refused == 32


def test_the_wait_that_is_named_is_long_enough_and_not_longer() -> None:
    admission = Admission(RATES, 0.0)
    sends(admission, "ann", 5)
    wait_s = admission.send_wait_s("app", "ann", 0.0)
    assert admission.send_wait_s("app", "ann", 0.9 * wait_s) > 0.0
    assert admission.send_wait_s("app", "ann", wait_s + 0.001) == 0.0


def test_one_user_s_flood_takes_nothing_from_another_or_from_the_app() -> None:
    admission = Admission(RATES, 0.0)
    sends(admission, "flooder", 10_000)
    assert sends(admission, "ann", 5) == 5
    assert sends(admission, "ann", 1, app="other") == 1


def test_one_app_s_users_together_stay_within_its_rate() -> None:
    admission = Admission(RATES, 0.0)
    assert sum(sends(admission, f"u{number}", 5) for number in range(100)) == 50
    assert sends(admission, "ann", 5, app="other") == 5


def test_a_send_that_the_app_may_not_make_is_not_counted_against_the_user() -> None:
    admission = Admission(RATES, 0.0)
    for number in range(10):
        sends(admission, f"u{number}", 5)
    assert sends(admission, "ann", 5) == 0
    assert sends(admission, "ann", 5, now=0.05) == 5


def test_logins_are_spread_when_they_come_back() -> None:
    admission = Admission(RATES, 0.0)
    waits = [admission.login_wait_s(0.0) for _ in range(20)]
    assert waits[:3] == [0.0] * 3
    assert all(wait > 0.0 for wait in waits[3:])
    assert len(set(waits[3:])) > 10
    assert admission.logins_refused == 17


def test_each_connection_has_an_allowance_of_its_own() -> None:
    admission = Admission(RATES, 0.0)
    first, second = admission.frame_bucket(0.0), admission.frame_bucket(0.0)
    while first.take(0.0):
        pass
    assert second.take(0.0)


def test_users_whose_allowance_is_full_again_are_forgotten() -> None:
    admission = Admission(RATES, 0.0)
    for number in range(5_000):
        admission.send_wait_s(f"app{number % 200}", f"u{number}", 0.0)
    admission.forget_idle(0.0)
    assert len(admission._users) == 5_000, "they still owe a moment"
    admission.forget_idle(1.0)
    assert len(admission._users) == 0


def test_an_overloaded_node_sends_newcomers_away_spread_over_as_long_again() -> None:
    admission = Admission(Rates(), 0.0)
    assert admission.shed_wait_s() == 0.0
    admission.shed_s = 4.0
    waits = [admission.shed_wait_s() for _ in range(32)]
    assert (min(waits), len(set(waits))) == (4.0, 16)
    assert max(waits) < 8.0
    assert admission.logins_refused == 32
