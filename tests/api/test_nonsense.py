"""Whatever is sent to whatever route, by whomever: never a fault of ours, always the promised shape."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings, strategies as st

from posthouse.api.routes import Route
from posthouse.api.web import ROUTES
from tests.api.site import ACME, ALICE, UMBRELLA, Site, part

SEEN = [
    "alice",
    "team",
    "~alice",
    "=",
    "group",
    "direct",
    "message",
    "owner",
    "x.y",
    "\0",
    "é",
    "",
    "1",
    {},
    [],
    2**53,
]


def objects(names: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(names, values, max_size=5)


LEAVES = (
    st.sampled_from(SEEN)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | objects(st.text(max_size=8), inner), max_leaves=6
)


def names_of(route: Route, which: str) -> st.SearchStrategy[str]:
    """Mostly names that the route knows."""
    shape = route.parts.get(which)
    known = [item.name for item in msgspec.structs.fields(shape)] if shape is not None else ["x"]
    return st.sampled_from(known)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, object]:
    """(method, path with query, body)."""
    route = draw(st.sampled_from(ROUTES))
    path = route.path
    for name in ("conv", "user"):
        value = draw(
            st.sampled_from([text for text in SEEN if isinstance(text, str) and text])
            | st.text(min_size=1, max_size=8)
        )
        path = path.replace(f"{{{name}}}", part(value))
    query = draw(
        st.lists(
            st.tuples(names_of(route, "query"), st.text(max_size=5) | st.sampled_from(["0", "5", "alice"])),
            max_size=2,
        )
    )
    if query and "query" in route.parts:
        path += "?" + "&".join(f"{name}={part(value)}" for name, value in query)
    body = draw(objects(names_of(route, "body"), VALUES) | VALUES) if "body" in route.parts else None
    return route.method, path, body


@given(requests(), st.sampled_from([ACME, ALICE, UMBRELLA]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_nonsense_is_answered_with_a_problem_and_never_with_a_fault(
    site: Site, request_: tuple[str, str, object], caller: Any
) -> None:
    """`Site.ask` checks the shape."""
    method, path, body = request_
    reply = await site.ask(method, path, caller, body)
    assert reply.status < 500, reply.body
