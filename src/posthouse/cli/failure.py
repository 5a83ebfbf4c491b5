"""How a command ends: exit codes that a script can act on, and failures that say what happened and what to do."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNAUTHORIZED = 4
    CHECKS_FAILED = 5
    INTERRUPTED = 130


EXIT_TEXTS = {
    Exit.OK: "done",
    Exit.FAILED: "it failed; the message says why",
    Exit.USAGE: "the command was not written as it must be",
    Exit.UNREACHABLE: "no server could be reached",
    Exit.UNAUTHORIZED: "no valid token, or no keys to make one with",
    Exit.CHECKS_FAILED: "checks failed: messages were lost, doubled or out of order",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
}


class Failure(Exception):
    """A command cannot do what was asked. `what` happened is one sentence; `todo` says what to do about it."""

    def __init__(self, what: str, todo: str = "", exit_code: Exit = Exit.FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.exit_code = exit_code
