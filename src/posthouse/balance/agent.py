"""What HAProxy's agent-check is answered: one line with the node's state and weight now. Pure.

The weight is a share of what the configuration of HAProxy gives the server, so all servers stand there with the same
and the best node has 100 %. Health is not said here but found by HAProxy's own check of /readyz.
"""

from typing import Literal, NamedTuple

from posthouse.balance.adaptive import DynamicWeights
from posthouse.balance.report import Snapshot

Standing = Literal["serving", "draining", "drained"]
PERCENT_MIN = 1
"""0 % would mean drain, and a node that drains says so itself."""


class AgentAnswer(NamedTuple):
    """The line as it is sent, and one sentence of reason."""

    line: bytes
    reason: str


def agent_answer(snapshot: Snapshot, target_id: str, standing: Standing) -> AgentAnswer:
    """`drain` lets sessions end where they are and takes no new ones; `maint` is for a node that has none left."""
    if standing == "draining":
        return AgentAnswer(b"drain\n", f"{target_id} is draining")
    if standing == "drained":
        return AgentAnswer(b"maint\n", f"{target_id} has drained")
    if any(each.id == target_id and each.out == "draining" for each in snapshot.targets):
        return AgentAnswer(b"drain\n", f"{target_id} takes no new work: its weight is 0, or it is draining")
    percent = weight_percent(snapshot, target_id)
    why = f"{target_id} has {percent} % of the weight of the node that can take most"
    return AgentAnswer(b"ready up %d%%\n" % percent, why)


def weight_percent(snapshot: Snapshot, target_id: str) -> int:
    """The weight that the node has shown and is configured to have, against the largest; 100 while nothing is known."""
    among = snapshot.candidates
    weights = DynamicWeights().weigh(among) if among else []
    own = next((each for target, each in zip(among, weights, strict=True) if target.id == target_id), None)
    return 100 if own is None else max(PERCENT_MIN, round(100 * own / max(weights)))
