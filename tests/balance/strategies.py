"""Fleets as hypothesis draws them: any reports, some stale, draining, unhealthy, failing or new."""

from hypothesis import strategies as st

from posthouse.balance.report import LoadReport

NOW = 1000.0
UNIFORMS = st.floats(0, 1, exclude_max=True)

WEIGHTS = st.floats(0.5, 8) | st.sampled_from([0.0, 1e-9, 1e9])


def reports(name: str) -> st.SearchStrategy[LoadReport]:
    """Any report of the target called `name`."""
    rate = st.floats(0, 1e6)
    return st.builds(
        LoadReport,
        target=st.just(name),
        at=st.sampled_from([NOW, NOW - 1, NOW - 60, float("-inf")]),
        connections=st.integers(0, 10**6),
        deliveries_per_s=rate,
        cpu=st.floats(0, 2),
        memory=st.floats(0, 1),
        network=st.floats(0, 1),
        loop_lag_ms=st.floats(0, 1e4),
        in_flight=st.integers(0, 10**4),
        latency_ms=st.just(0.0) | st.floats(0.01, 1e5),
        errors_per_s=st.just(0.0) | rate,
        draining=st.booleans(),
        healthy=st.booleans(),
        since=st.sampled_from([float("-inf"), NOW - 15, NOW]),
        weight=WEIGHTS,
    )


def fleets(largest: int = 12) -> st.SearchStrategy[list[LoadReport]]:
    """Reports of up to so many targets, perhaps none."""
    names = st.lists(st.sampled_from([f"t{n}" for n in range(largest)]), unique=True)
    return names.flatmap(lambda each: st.tuples(*map(reports, each)).map(list))
