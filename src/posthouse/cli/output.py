"""What commands write to standard output: lines for people, or one JSON object a line for programs (`--json`)."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from posthouse.cli.failure import Failure

F = TypeVar("F", bound=Callable[..., Any])


class Output:
    """Where a command's results go. `json` is set by `--json`, before or after the command's name."""

    def __init__(self) -> None:
        self.json = False

    def emit(self, record: object, text: str) -> None:
        """One result, at once: `record` for programs, `text` for people; an empty text is not shown."""
        if self.json:
            click.echo(json_line(record))
        elif text:
            click.echo(text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """A remark beside the results, for people only: to standard error."""
        if not self.json:
            click.echo(text, err=True)

    def fail(self, failure: Failure) -> None:
        """Say what went wrong: to standard error."""
        if self.json:
            record = {"error": failure.what, "todo": failure.todo, "exit": int(failure.exit_code)}
            click.echo(json_line(record), err=True)
            return
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {failure.what}", err=True)
        if failure.todo:
            click.echo(failure.todo, err=True)


def json_line(record: object) -> str:
    """One line of JSON: what is written of an entry is what is sent of it."""
    import msgspec

    return msgspec.json.encode(record).decode()


def json_option(command: F) -> F:
    """Give a command the option `--json`."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_set_json,
        help="Write JSON, one object a line, for programs.",
    )(command)


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Output).json = True


pass_output = click.make_pass_decorator(Output, ensure=True)
