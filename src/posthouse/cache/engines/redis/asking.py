"""What the engines share: scripts run where their keys are, with the port's error in place of the link's."""

import asyncio
from collections.abc import Sequence

from posthouse.cache.base import CacheUnavailable
from posthouse.valkey.deployment import Deployment
from posthouse.valkey.link import Link, Reply, ReplyError, Unavailable
from posthouse.valkey.script import Call, Script


async def run(deployment: Deployment, script: Script, call: Call) -> Reply:
    """The reply of one call. Raises `CacheUnavailable`, at once where there is no link."""
    (reply,) = await run_each(deployment, script, [call])
    if isinstance(reply, Exception):
        raise CacheUnavailable(str(reply))
    return reply


async def run_each(deployment: Deployment, script: Script, calls: Sequence[Call]) -> list[Reply]:
    """One reply for each call; an exception in its place where there is none. Calls that meet on one server are made
    in the order given."""
    replies: list[Reply] = [None] * len(calls)
    by_link: dict[Link, list[int]] = {}
    for number, (keys, _) in enumerate(calls):
        try:
            by_link.setdefault(deployment.link(keys[0]), []).append(number)
        except Unavailable as trouble:
            replies[number] = trouble
    answers = await asyncio.gather(
        *(_run(script, link, [calls[number] for number in numbers]) for link, numbers in by_link.items())
    )
    for numbers, own in zip(by_link.values(), answers, strict=True):
        for number, reply in zip(numbers, own, strict=True):
            replies[number] = reply
    if any(isinstance(reply, ReplyError) for reply in replies):
        deployment.doubt()
    return replies


async def _run(script: Script, link: Link, calls: Sequence[Call]) -> list[Reply]:
    try:
        return await script.run(link, calls)
    except Unavailable as trouble:
        return [trouble] * len(calls)
