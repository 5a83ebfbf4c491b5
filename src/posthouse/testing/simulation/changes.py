"""Who joins and leaves conversations, and when: drawn from a seed before anything runs, done by the back end."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posthouse.model.entry import MEMBER_JOINED, MEMBER_LEFT
from posthouse.storage.base import Append, Join, Leave

CHANGES_MIN, CHANGES_MAX = 3, 8


@dataclass(frozen=True, slots=True)
class Change:
    """One user comes in, or goes."""

    at_s: float
    conv: str
    user: str
    joins: bool

    def __str__(self) -> str:
        return f"{self.at_s:.2f} s: {self.user} {'joins' if self.joins else 'leaves'} {self.conv}"

    def append(self, app: str) -> Append:
        """As the back end says it."""
        return Append(
            app=app,
            conv=self.conv,
            kind=MEMBER_JOINED if self.joins else MEMBER_LEFT,
            client_id=str(self),
            made_at_ms=0,
            body=b"{}",
            change=(Join if self.joins else Leave)((self.user,)),
            trusted=True,
        )


def draw_changes(
    rng: random.Random, members: Mapping[str, Sequence[str]], users: Sequence[str], within_s: float
) -> list[Change]:
    """The changes of one story, in order. Each is one: nobody joins twice without having left."""
    now = {conv: set(of) for conv, of in members.items()}
    changes = []
    for at_s in sorted(rng.uniform(1.0, within_s) for _ in range(rng.randint(CHANGES_MIN, CHANGES_MAX))):
        conv, user = rng.choice(sorted(now)), rng.choice(users)
        changes.append(Change(at_s, conv, user, user not in now[conv]))
        now[conv] ^= {user}
    return changes
