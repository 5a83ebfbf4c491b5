"""Any frame at all, as hypothesis draws it from the types."""

from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from posthouse.model.ids import INTEGER_MAX
from posthouse.protocol.frames import ClientFrame, ServerFrame

Strategy = st.SearchStrategy[Any]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(0, INTEGER_MAX)
BODIES = st.dictionaries(TEXTS, TEXTS | INTEGERS | st.none() | st.lists(st.booleans()), max_size=4)
RAW_BODIES = BODIES.map(lambda body: msgspec.Raw(msgspec.json.encode(body)))
PLAIN: dict[Any, Strategy] = {
    str: TEXTS,
    int: INTEGERS,
    bool: st.booleans(),
    NoneType: st.none(),
    msgspec.Raw: RAW_BODIES,
}


def values(type_: Any) -> Strategy:
    """Any value of a type that frames are made of."""
    if type_ in PLAIN:
        return PLAIN[type_]
    arguments = get_args(type_)
    if get_origin(type_) is Annotated:
        return values(arguments[0])
    if isinstance(type_, UnionType):
        return st.one_of([values(each) for each in arguments])
    if get_origin(type_) is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if get_origin(type_) is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    return st.sampled_from(type_) if issubclass(type_, Enum) else _structs(type_)


def _structs(type_: type[msgspec.Struct]) -> Strategy:
    fields = {field.name: values(field.type) for field in msgspec.structs.fields(type_)}
    return st.fixed_dictionaries(fields).map(lambda given: type_(**given))


CLIENT_FRAMES = values(ClientFrame)
SERVER_FRAMES = values(ServerFrame)
