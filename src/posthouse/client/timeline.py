"""Each log's applied position, and the repair of gaps: every entry is delivered once, in order (G3, G4). Pure.

Live entries are hints. What comes next in order is delivered at once; what comes early waits a moment and is then
fetched; a page that was fetched is the truth about its range, also where numbers are left out because they are not
the user's to see. A position moves only when the application has taken the entry.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from math import inf
from typing import NamedTuple

from posthouse.model.entry import Entry
from posthouse.protocol.frames import FETCH_LIMIT_MAX, POSITIONS_MAX

GAP_WAIT_S = 0.2
"""Entries overtake each other only by a moment; a gap older than this is fetched."""
HELD_ENTRIES_MAX = 256
"""Early entries kept for one log. Overflow: drop them and fetch (counted in `overflows`)."""
FETCHES_MAX = 4
"""Logs caught up at once; the others wait their turn."""
UNKNOWN_LOGS_MAX = 1_000
"""Logs heard of but not yet begun. Overflow: forget them all and look at the log when one begins."""


class Mode(Enum):
    """What the repair of a log waits for."""

    WAITING = "waiting"
    """For the entry that is missing, until `due`."""
    READY = "ready"
    """For its turn to fetch."""
    FETCHING = "fetching"
    STALLED = "stalled"
    """For room in the application's stream."""


class Fetching(NamedTuple):
    """A range to ask for: entries of `log` after `after`."""

    log: str
    after: int
    limit: int


class Heard(NamedTuple):
    """The first and the newest seq that were heard of a log before it has begun."""

    first: int
    newest: int


class Repair:
    """What one log lacks: entries up to `target`; `held` came early."""

    __slots__ = ("due", "held", "mode", "target", "target_asked")

    def __init__(self, target: int, mode: Mode, due: float = inf) -> None:
        self.held: dict[int, Entry] = {}
        self.target = target
        self.target_asked = 0
        self.mode = mode
        self.due = due


class Timeline:
    """One log's position; `repair` is None while it is in step."""

    __slots__ = ("applied", "ends_at", "repair")

    def __init__(self, applied: int) -> None:
        self.applied = applied
        self.ends_at = 0
        self.repair: Repair | None = None

    @property
    def ended(self) -> bool:
        """True when the user has left and has had everything up to the last entry."""
        return 0 < self.ends_at == self.applied  # beyond it the user is a member again, and will be told so


class Timelines:
    """All logs of one client. `deliver` takes an entry and says whether there was room for it."""

    __slots__ = (
        "_behind", "_deliver", "_fetching", "_logs", "_ready", "_unknown", "_unknown_lost",
        "duplicates", "gaps", "overflows",
    )  # fmt: skip

    def __init__(self, deliver: Callable[[Entry], bool]) -> None:
        self._deliver = deliver
        self._logs: dict[str, Timeline] = {}
        self._behind: dict[str, Timeline] = {}
        self._ready: deque[str] = deque()
        self._fetching = 0
        self._unknown: dict[str, Heard] = {}
        self._unknown_lost = False
        self.duplicates = 0
        self.gaps = 0
        self.overflows = 0

    # Positions

    def applied(self, log: str) -> int | None:
        """The newest seq delivered of a log, or None when it has not begun."""
        timeline = self._logs.get(log)
        return timeline.applied if timeline is not None else None

    def positions(self, first: str) -> dict[str, int]:
        """Where each log stands, `first` among them; at most `POSITIONS_MAX`, the logs begun last."""
        logs = dict.fromkeys([first, *list(self._logs)[-(POSITIONS_MAX - 1) :]])
        return {log: self._logs[log].applied for log in logs if log in self._logs}

    @property
    def behind(self) -> int:
        """How many logs are being repaired."""
        return len(self._behind)

    def start(self, log: str, applied: int, target: int = 0) -> None:
        """Begin a log after entry `applied`, and fetch what is known to lie beyond."""
        self._logs[log] = Timeline(applied)
        heard = self._unknown.pop(log, None)
        newest = heard.newest if heard is not None else applied + 1 if self._unknown_lost else 0
        self.note_head(log, max(target, newest))

    @property
    def unknown(self) -> bool:
        """True while something was heard of logs that have not begun."""
        return bool(self._unknown)

    def take_unknown(self) -> dict[str, int]:
        """The first seq that was heard of each log that has not begun; they are forgotten."""
        unknown, self._unknown = self._unknown, {}
        return {log: heard.first for log, heard in unknown.items()}

    def in_step(self, log: str) -> bool:
        """True when nothing is missing of a log, for all that is known."""
        return log not in self._behind

    def forget(self, log: str) -> None:
        """The log is no longer this user's."""
        self._logs.pop(log, None)
        self._behind.pop(log, None)

    def end(self, log: str, last: int) -> bool:
        """The user sees nothing beyond `last`. True when the log has been forgotten, now that all was delivered."""
        timeline = self._logs.get(log)
        if timeline is None:
            return True
        timeline.ends_at = last
        self.note_head(log, last)
        if timeline.ended:
            self.forget(log)
        return timeline.ended

    def pursue_ends(self) -> None:
        """A session stands: fetch what is missing of logs that have ended. The server does not name them any more."""
        for log, timeline in self._logs.items():
            if timeline.applied < timeline.ends_at:
                self.note_head(log, timeline.ends_at)

    def resume(self, log: str, head: int) -> None:
        """The user is a member again: the log goes on beyond where it ended."""
        self._logs[log].ends_at = 0
        self.note_head(log, head)

    def reset(self) -> None:
        """Forget everything: positions are no longer to be trusted."""
        self._logs.clear()
        self._unknown.clear()
        self.lose_connection()

    # What arrives

    def apply(self, entry: Entry) -> bool:
        """The way of nearly every entry: deliver it if it is the next one. False: call `hold`."""
        timeline = self._logs.get(entry.conv)
        if timeline is None or timeline.repair is not None or entry.seq != timeline.applied + 1:
            return False
        if self._deliver(entry):
            timeline.applied = entry.seq
        else:
            self._put_behind(entry.conv, timeline, entry.seq, Mode.STALLED)
        return True

    def hold(self, entry: Entry, now: float) -> None:
        """Take an entry that is not simply the next: a repeated one is dropped, an early one kept."""
        log, seq = entry.conv, entry.seq
        timeline = self._logs.get(log)
        if timeline is None:
            self._hear_of(log, seq)
            return
        if seq <= timeline.applied:
            self.duplicates += 1
            return
        repair = timeline.repair
        if repair is None:
            self.gaps += 1
            repair = self._put_behind(log, timeline, seq, Mode.WAITING, now + GAP_WAIT_S)
        repair.target = max(repair.target, seq)
        if repair.mode is Mode.STALLED:
            return
        if len(repair.held) >= HELD_ENTRIES_MAX:
            self._overflow(log, repair)
            return
        repair.held[seq] = entry
        if self._drain(log, timeline, repair) and repair.mode is not Mode.FETCHING:
            self._finish_if_whole(log, timeline, repair)

    def note_head(self, log: str, head: int) -> None:
        """The log has entries up to `head`: fetch what is missing. Hints about unknown logs are remembered."""
        timeline = self._logs.get(log)
        if timeline is None:
            self._hear_of(log, head)
        elif head > timeline.applied:
            if timeline.repair is None:
                self._put_behind(log, timeline, head, Mode.READY)
            else:
                self._raise_target(log, timeline.repair, head)

    def page(self, log: str, entries: Sequence[Entry], complete: bool, now: float) -> None:
        """The answer to a `Fetching`: all that the user may see from there on, up to the last entry of the page."""
        self._fetching -= 1
        timeline = self._logs.get(log)
        if timeline is None or timeline.repair is None:
            return
        repair = timeline.repair
        repair.mode = Mode.WAITING
        fresh = (entry for entry in entries if entry.seq > timeline.applied)
        if not all(self._give(log, timeline, entry) for entry in fresh):
            return
        repair.held = {seq: entry for seq, entry in repair.held.items() if seq > timeline.applied}
        if self._drain(log, timeline, repair):
            self._go_on(log, timeline, repair, complete or not entries, now)

    def fail(self, log: str) -> None:
        """A fetch was refused for good: nothing more is asked before the next hint."""
        self._fetching -= 1
        timeline = self._logs.get(log)
        if timeline is not None and timeline.repair is not None:
            self._finish(log, timeline)

    # What to do

    @property
    def due(self) -> float:
        """When `fetches` has something to say."""
        if self._ready and self._fetching < FETCHES_MAX:
            return -inf
        return min((repair.due for repair in self._repairs() if repair.mode is Mode.WAITING), default=inf)

    def fetches(self, now: float) -> list[Fetching]:
        """The ranges to ask for now."""
        if self._behind:
            for log, timeline in self._behind.items():
                repair = timeline.repair
                if repair is not None and repair.mode is Mode.WAITING and repair.due <= now:
                    self._make_ready(log, repair)
        asked = []
        while self._ready and self._fetching < FETCHES_MAX:
            log = self._ready.popleft()
            behind = self._behind.get(log)
            if behind is not None and behind.repair is not None and behind.repair.mode is Mode.READY:
                asked.append(self._fetch(log, behind, behind.repair))
        return asked

    def make_room(self) -> None:
        """The application has read: what was held up for want of room is fetched now."""
        for log, timeline in self._behind.items():
            if timeline.repair is not None and timeline.repair.mode is Mode.STALLED:
                self._make_ready(log, timeline.repair)

    def lose_connection(self) -> None:
        """Forget repairs under way: the next session begins by comparing positions."""
        for timeline in self._behind.values():
            timeline.repair = None
        self._behind.clear()
        self._ready.clear()
        self._fetching = 0

    # Inside

    def _repairs(self) -> Iterable[Repair]:
        return (timeline.repair for timeline in self._behind.values() if timeline.repair is not None)

    def _hear_of(self, log: str, seq: int) -> None:
        if len(self._unknown) >= UNKNOWN_LOGS_MAX and log not in self._unknown:
            self._unknown.clear()
            self._unknown_lost = True
            self.overflows += 1
        first, newest = self._unknown.get(log, (seq, seq))
        self._unknown[log] = Heard(min(first, seq), max(newest, seq))

    def _put_behind(self, log: str, timeline: Timeline, target: int, mode: Mode, due: float = inf) -> Repair:
        repair = timeline.repair = Repair(target, mode, due)
        self._behind[log] = timeline
        if mode is Mode.READY:
            self._ready.append(log)
        return repair

    def _make_ready(self, log: str, repair: Repair) -> None:
        repair.mode, repair.due = Mode.READY, inf
        self._ready.append(log)

    def _raise_target(self, log: str, repair: Repair, head: int) -> None:
        repair.target = max(repair.target, head)
        if repair.mode is Mode.WAITING:
            self._make_ready(log, repair)

    def _overflow(self, log: str, repair: Repair) -> None:
        self.overflows += 1
        repair.held.clear()
        if repair.mode is Mode.WAITING:
            self._make_ready(log, repair)

    def _fetch(self, log: str, timeline: Timeline, repair: Repair) -> Fetching:
        self._fetching += 1
        repair.mode, repair.target_asked = Mode.FETCHING, repair.target
        last = min(repair.held) - 1 if repair.held else repair.target
        return Fetching(log, timeline.applied, max(1, min(FETCH_LIMIT_MAX, last - timeline.applied)))

    def _give(self, log: str, timeline: Timeline, entry: Entry) -> bool:
        if self._deliver(entry):
            timeline.applied = entry.seq
            return True
        repair = timeline.repair
        if repair is not None:
            repair.target = max(repair.target, entry.seq, *repair.held)
            repair.held.clear()
            repair.mode, repair.due = Mode.STALLED, inf
        return False

    def _drain(self, log: str, timeline: Timeline, repair: Repair) -> bool:
        """Deliver what was held and is next now. False when the application has no room."""
        while (entry := repair.held.pop(timeline.applied + 1, None)) is not None:
            if not self._give(log, timeline, entry):
                return False
        return True

    def _go_on(self, log: str, timeline: Timeline, repair: Repair, complete: bool, now: float) -> None:
        if complete and repair.target <= repair.target_asked:
            repair.target = max(repair.held, default=timeline.applied)
        if self._finish_if_whole(log, timeline, repair):
            return
        if complete and repair.held:
            repair.due = now + GAP_WAIT_S
        else:
            self._make_ready(log, repair)

    def _finish_if_whole(self, log: str, timeline: Timeline, repair: Repair) -> bool:
        whole = not repair.held and timeline.applied >= repair.target
        if whole:
            self._finish(log, timeline)
        return whole

    def _finish(self, log: str, timeline: Timeline) -> None:
        timeline.repair = None
        self._behind.pop(log, None)
        if timeline.ended:
            self.forget(log)
