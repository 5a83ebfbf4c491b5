"""How a conversation is named on a command line: by its id, or `@USER` for the direct one with a user."""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from posthouse.client import Client

USER_PREFIX = "@"


class Conv(click.ParamType[str]):
    """A conversation: an id, or @USER."""

    name = "conv"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from posthouse.model.errors import InvalidId
        from posthouse.model.ids import check_id

        try:
            check_id(
                value.removeprefix(USER_PREFIX), "user" if value.startswith(USER_PREFIX) else "conversation"
            )
        except InvalidId as error:
            self.fail(str(error), param, ctx)
        return str(value)


def known(named: str, me: str) -> str:
    """The conversation's id, without asking anybody."""
    from posthouse.model.ids import direct_id

    return direct_id(me, named[1:]) if named.startswith(USER_PREFIX) else named


async def begun(client: "Client", named: str) -> str:
    """The conversation's id; a direct conversation is begun if need be."""
    return (await client.direct(named[1:])).conv if named.startswith(USER_PREFIX) else named
