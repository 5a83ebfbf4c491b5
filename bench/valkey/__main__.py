"""What the cache and the bus cost on a real server, beside bare redis-py: `python -m bench.valkey [--help]`.

A publish counts the client's CPU only; nobody is subscribed. Routes count the time to register, look at, and ask.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import redis.asyncio
import uvloop

from posthouse.bus.engines.redis.bus import RedisBus
from posthouse.cache.base import LogKey
from posthouse.cache.engines.redis.routes import RedisRoutes
from posthouse.testing.valkey import LocalValkey
from posthouse.valkey.address import parse
from posthouse.valkey.choosing import deployment

BODY = b"x" * 400
Row = dict[str, float]


async def timed(work: Awaitable[object], count: int) -> Row:
    """What `count` things cost that `work` does."""
    began, cpu = time.perf_counter(), time.process_time()
    await work
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return {"per_s": round(count / seconds), "cpu_us": round(cpu_s / count * 1e6, 2)}


async def each(act: Callable[[], Awaitable[object]], tasks: int, count: int) -> None:
    """Do it `count` times over `tasks` at once."""

    async def some() -> None:
        for _ in range(count // tasks):
            await act()

    await asyncio.gather(*(some() for _ in range(tasks)))


async def publishing(url: str, tasks: int, count: int) -> dict[str, Row]:
    links = deployment(parse(url))
    await links.start()
    bus = RedisBus(links)
    ours = await timed(each(lambda: bus.publish("gateway", BODY), tasks, count), count)
    await links.close()
    client = redis.asyncio.Redis.from_url(url, protocol=3, max_connections=tasks)
    calls = count // 10
    bare = await timed(each(lambda: client.execute_command("SPUBLISH", "c", BODY), tasks, calls), calls)

    async def pipelined() -> None:
        for _ in range(count // tasks):
            pipe: Any = client.pipeline(transaction=False)
            for _ in range(tasks):
                pipe.execute_command("SPUBLISH", "c", BODY)
            await pipe.execute()

    piped = await timed(pipelined(), count)
    await client.aclose()
    return {"ours": ours, "redis-py, each": bare, "redis-py, in pipelines": piped}


async def routing(url: str, routes_count: int) -> Row:
    links = deployment(parse(url))
    await links.start()
    routes = RedisRoutes(links, 1, answer_timeout_s=5.0)
    keys: list[LogKey] = [("default", f"={number:026}") for number in range(routes_count)]
    await routes.keep("one")
    memory, server_memory = resident_kib(), await used(links)
    row = {}
    for name, work, count in (
        ("register", routes.register("one", keys), routes_count),
        ("keep", routes.keep("one"), 1),
    ):
        row |= {f"{name}_{what}": value for what, value in (await timed(work, count)).items()}
    row["node_bytes_per_route"] = round((resident_kib() - memory) * 1024 / routes_count, 1)
    row["server_bytes_per_route"] = round((await used(links) - server_memory) / routes_count, 1)
    for batch in (1, 100, 500):
        asked = keys[:batch]
        cost = await timed(each(lambda a=asked: routes.gateways(a, ("one", "two", "three")), 1, 200), 200)  # type: ignore[misc]
        row[f"ask_{batch}_of_3_cpu_us"] = cost["cpu_us"]
    await links.link(b"").ask("FLUSHALL")
    row |= {
        f"put_back_{what}": value for what, value in (await timed(routes.keep("one"), routes_count)).items()
    }
    await links.close()
    return row


async def used(links: Any) -> int:
    text = await links.link(b"").ask("INFO", "memory")
    return int(text.split(b"used_memory:")[1].split(b"\r")[0])


def resident_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--publishes", type=int, default=100_000)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--routes", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with LocalValkey() as server:
        runs = [
            uvloop.run(publishing(server.url, arguments.tasks, arguments.publishes))
            for _ in range(arguments.runs)
        ]
        publish = {
            name: {what: median(run[name][what] for run in runs) for what in runs[0][name]}
            for name in runs[0]
        }
        routes = uvloop.run(routing(server.url, arguments.routes))
    json.dump({"publish": publish, "routes": routes}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
