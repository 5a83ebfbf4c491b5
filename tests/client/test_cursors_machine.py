"""However reading, answers and losses of the connection fall: the server hears each cursor, and none goes back."""

from math import inf

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from posthouse.client.cursors import INTERVAL_S, Cursors
from posthouse.model.cursor import Cursor, merge

CONVS = st.sampled_from(["a", "b", "c"])
SEQS = st.integers(1, 9)


class Saying(RuleBasedStateMachine):
    """`known` is what the server has made durable, `done` what the user has read and this device received."""

    def __init__(self) -> None:
        super().__init__()
        self.cursors = Cursors()
        self.now = 0.0
        self.is_open = False
        self.done: dict[str, Cursor] = {}
        self.known: dict[str, Cursor] = {}
        self.flying: tuple[Cursor, ...] = ()
        self.took_at = -inf

    def move(self, cursor: Cursor) -> None:
        old = self.done.get(cursor.conv, Cursor(cursor.conv))
        self.done[cursor.conv] = merge(old, cursor)

    @rule(conv=CONVS, seq=SEQS)
    def read(self, conv: str, seq: int) -> None:
        self.move(Cursor(conv, seq, seq))
        self.cursors.read(conv, seq, self.now)

    @rule(conv=CONVS, more=st.integers(1, 3))
    def deliver(self, conv: str, more: int) -> None:
        """In order, as the log has it."""
        seq = self.done.get(conv, Cursor(conv)).delivered + more
        self.move(Cursor(conv, 0, seq))
        if self.cursors.deliver(conv, seq):
            self.cursors.schedule(self.now)

    @rule(seconds=st.sampled_from([0.3, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.is_open)
    @rule()
    def open(self) -> None:
        self.is_open = True
        self.cursors.open(self.now)

    @precondition(lambda self: self.is_open)
    @rule(arrives=st.booleans())
    def lose(self, arrives: bool) -> None:
        """What was on its way may have arrived all the same."""
        if arrives:
            self.arrive()
        self.is_open, self.flying = False, ()
        self.cursors.lose_connection()

    @rule(all_due=st.sampled_from([False, False, False, True]))
    def take(self, all_due: bool) -> None:
        taken = self.cursors.take(self.now, all_due=all_due)
        if taken:
            assert self.is_open
            assert not self.flying, "the last ones have no answer yet"
            assert all_due or self.now >= self.took_at + INTERVAL_S or self.took_at < 0
            assert len({cursor.conv for cursor in taken}) == len(taken)
            for cursor in taken:
                assert merge(self.done[cursor.conv], cursor) == self.done[cursor.conv], (
                    "it says what nobody did"
                )
            self.flying, self.took_at = taken, self.now

    @precondition(lambda self: self.flying)
    @rule()
    def settle(self) -> None:
        self.arrive()
        self.flying = ()
        self.cursors.settle(True, self.now)

    def arrive(self) -> None:
        for cursor in self.flying:
            old = self.known.get(cursor.conv, Cursor(cursor.conv))
            self.known[cursor.conv] = merge(old, cursor)

    @invariant()
    def what_is_not_said_yet_is_due_within_a_second(self) -> None:
        if self.is_open and not self.flying and self.known != self.done:
            assert self.cursors.due <= self.now + INTERVAL_S

    def teardown(self) -> None:
        """Once nothing more happens the server knows all there is to know, and is told no more."""
        if not self.is_open:
            self.open()
        for _ in range(4):
            if self.flying:
                self.settle()
            self.now += 2 * INTERVAL_S
            self.take(all_due=False)
        assert self.known == self.done
        assert not self.flying


TestSaying = Saying.TestCase
TestSaying.settings = settings(max_examples=150, stateful_step_count=30)
