"""The terminal of `posthouse chat`, on prompt_toolkit: settled lines scroll away above, the rest is repainted below.

One event loop. `refresh` may be called at any time: it repaints the tail and the status, and prints what has settled
above the line being typed, without touching that line.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.styles import Style

from posthouse.cli.chatting.layout import Row, rows_of, waiting_rows
from posthouse.cli.chatting.transcript import Line, Transcript
from posthouse.kit.tasks import start

TAIL_SHARE = 2
"""Of the terminal's height, one part in so many is for lines that may still change."""
INPUT_ROWS_MAX = 8
TYPED_LINES_MAX = 100
"""Lines typed and not taken yet. Overflow: the newest stays in the input."""
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Left to themselves they would leave the terminal raw."""

STYLE = Style.from_dict(
    {
        "time": "ansibrightblack",
        "notice": "ansibrightblack",
        "waiting": "ansibrightblack",
        "me": "bold",
        "mentioned": "ansiyellow",
        "name0": "ansicyan",
        "name1": "ansigreen",
        "name2": "ansimagenta",
        "name3": "ansiblue",
        "name4": "ansibrightcyan",
        "name5": "ansibrightmagenta",
        "mark.waiting": "ansibrightblack",
        "mark.sent": "ansibrightblack",
        "mark.delivered": "ansibrightblack",
        "mark.read": "ansigreen",
        "status": "ansibrightblack",
        "status.bad": "ansired",
        "status.unread": "ansiyellow",
    }
)


class Terminal:
    """A transcript in a terminal, with a line to type on. `status` gives the row below that line."""

    def __init__(self, me: str, transcript: Transcript, status: Callable[[], Row]) -> None:
        self.transcript = transcript
        self._me = me
        self._status = status
        self._typed: asyncio.Queue[str | None] = asyncio.Queue()
        self._gone: list[Line] = []
        self._left = asyncio.Event()
        self._flush_due: Awaitable[None] | None = None
        self._output = _output()
        self._app: Application[None] = Application(
            layout=Layout(self._rows()),
            key_bindings=self._keys(),
            style=STYLE,
            output=self._output,
            erase_when_done=True,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Inside, the terminal is ours; afterwards it is as it was, with all that was shown left on it."""
        loop = asyncio.get_running_loop()
        for number in ENDING_SIGNALS:
            loop.add_signal_handler(number, self.leave)
        running = start(self._app.run_async(handle_sigint=False, set_exception_handler=False))
        running.add_done_callback(lambda _: self.leave())
        try:
            yield
        finally:
            self.leave()
            with suppress(EOFError):  # the terminal itself is gone
                await running
            for number in ENDING_SIGNALS:
                loop.remove_signal_handler(number)
            self._print(
                [*self._gone, *self.transcript.settle(0, self._height), *self.transcript.waiting.values()]
            )

    async def typed(self) -> AsyncIterator[str]:
        """What the user types, line by line, until they leave."""
        while (line := await self._typed.get()) is not None:
            yield line

    async def wait_left(self) -> None:
        """Return when the user has left."""
        await self._left.wait()

    def show(self, transcript: Transcript) -> None:
        """Go on with another transcript; what was shown of the one before scrolls away."""
        self._gone += self.transcript.settle(0, self._height)
        self.transcript = transcript
        self.refresh()

    def leave(self) -> None:
        """End `typed`."""
        if not self._left.is_set():
            self._left.set()
            self._typed.put_nowait(None)
        if self._app.is_running and not self._app.is_done:
            self._app.exit()

    def refresh(self) -> None:
        """Something has changed that is shown."""
        self._app.invalidate()
        if self._flush_due is None and (
            self._gone or self.transcript.settled(self._tail_rows_max(), self._height)
        ):
            self._flush_due = run_in_terminal(self._flush)

    def _flush(self) -> None:
        self._flush_due = None
        gone, self._gone = self._gone, []
        self._print(gone + self.transcript.settle(self._tail_rows_max(), self._height))

    def _print(self, lines: list[Line]) -> None:
        rows = [row for line in lines for row in self._rows_of(line)]
        if rows:
            print_formatted_text(self._output, _joined([*rows, []]), STYLE)

    # What is painted

    def _rows(self) -> HSplit:
        self._buffer = Buffer(multiline=True, history=InMemoryHistory(), accept_handler=self._accept)
        prompt = FormattedText([("class:me", self._me), ("", "> ")])
        return HSplit(
            [
                ConditionalContainer(
                    Window(FormattedTextControl(self._tail), dont_extend_height=True),
                    Condition(lambda: bool(self.transcript.tail or self.transcript.waiting)),
                ),
                Window(
                    BufferControl(self._buffer, input_processors=[BeforeInput(prompt)]),
                    height=Dimension(min=1, max=INPUT_ROWS_MAX),
                    wrap_lines=True,
                    dont_extend_height=True,
                ),
                Window(FormattedTextControl(lambda: FormattedText(self._status())), height=1),
            ]
        )

    def _tail(self) -> FormattedText:
        rows = [row for line in self.transcript.tail for row in self._rows_of(line)]
        return _joined(rows + waiting_rows(list(self.transcript.waiting.values()), self._width))

    def _rows_of(self, line: Line) -> list[Row]:
        return rows_of(line, self.transcript.mark(line), self._width)

    def _height(self, line: Line) -> int:
        return len(self._rows_of(line))

    @property
    def _width(self) -> int:
        return self._output.get_size().columns

    def _tail_rows_max(self) -> int:
        return self._output.get_size().rows // TAIL_SHARE

    # What is typed

    def _accept(self, buffer: Buffer) -> bool:
        """Take the line; True keeps it in the input."""
        if self._typed.qsize() >= TYPED_LINES_MAX:
            return True
        self._typed.put_nowait(buffer.text)
        return False

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        keys.add("enter")(lambda event: event.current_buffer.validate_and_handle())
        keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
        keys.add("c-c")(lambda event: self.leave())
        keys.add("c-d", filter=Condition(lambda: not self._buffer.text))(lambda event: self.leave())
        keys.add("c-z")(lambda event: event.app.suspend_to_background())
        keys.add("c-l")(lambda event: event.app.renderer.clear())
        return keys


def _joined(rows: list[Row]) -> FormattedText:
    return FormattedText([part for n, row in enumerate(rows) for part in ([("", "\n")] if n else []) + row])


def _output() -> Output:
    """The terminal, never asked where its cursor is: not all answer, and nothing here needs to know."""
    output = create_output()
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False
    return output
