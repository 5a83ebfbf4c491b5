"""From an address to the kind of deployment that it names."""

import random

from posthouse.kit.chance import system_random
from posthouse.kit.clock import Clock, SystemClock
from posthouse.valkey.address import Address
from posthouse.valkey.cluster import Cluster
from posthouse.valkey.deployment import Alone, Deployment
from posthouse.valkey.link import LinkLimits
from posthouse.valkey.sentinel import Sentinel


def deployment(
    address: Address,
    *,
    limits: LinkLimits | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> Deployment:
    """The deployment that an address names, not yet started."""
    kinds: dict[str, type[Deployment]] = {"alone": Alone, "sentinel": Sentinel, "cluster": Cluster}
    return kinds[address.mode](
        address, limits or LinkLimits(), clock or SystemClock(), rng or system_random()
    )
