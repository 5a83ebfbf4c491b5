"""Thousands of users in many conversations each, on a server just started: where `idle` and `storm` begin."""

import asyncio
import random

from posthouse.client import Runtime
from posthouse.load.backend import Backend
from posthouse.load.bench.population import groups
from posthouse.load.bench.worker import Worker
from posthouse.testing.servers import LocalServer

GROUP_SIZE = 50
POLL_S = 0.1
SETTLE_S = 3.0
"""After a crowd has come in, until what that left over is done."""


class Household:
    """The server and its users. `users` are as many as asked for, rounded down to whole groups."""

    def __init__(self, server: LocalServer, workers: list[Worker], runtime: Runtime, users: int) -> None:
        self.server = server
        self.workers = workers
        self.clock = runtime.clock
        self.backend = Backend(server.url, server.secrets.api_key, runtime)
        self.users = [f"guest-{number}" for number in range(users // GROUP_SIZE * GROUP_SIZE)]

    async def furnish(self, conversations: int) -> None:
        """Make the groups, each user in so many, and start the server afresh: making them leaves no trace in memory."""
        formed = groups(self.users, GROUP_SIZE, conversations, random.Random(0))
        creating = (self.backend.create_group(f"group-{n}", members) for n, members in enumerate(formed))
        await asyncio.gather(*creating)
        while await self.backend.metric("posthouse_roster_applied_total") < len(self.users) * conversations:
            await self.clock.sleep(POLL_S)
        await self.restart()

    async def restart(self) -> None:
        """Kill the server, and start it again."""
        await asyncio.to_thread(self.server.kill)
        await asyncio.to_thread(self.server.start)

    async def enter(self) -> None:
        """Connect everybody."""
        parts = [self.users[at :: len(self.workers)] for at in range(len(self.workers))]
        told = {"address": self.server.url, "folder": str(self.server.data)}
        calls = zip(self.workers, parts, strict=True)
        await asyncio.gather(*(worker.call("enter", users=part, **told) for worker, part in calls))
        await self.clock.sleep(SETTLE_S)
