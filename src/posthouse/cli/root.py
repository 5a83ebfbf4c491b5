"""The command `posthouse` itself: finds commands by name, and gives every way of failing its words and exit code."""

import os
from importlib import import_module
from typing import Any

import click

from posthouse import __version__
from posthouse.cli.failure import EXIT_TEXTS, Exit, Failure
from posthouse.cli.output import Output, json_option

COMMANDS = (
    "up", "chat", "send", "tail", "history", "conversations", "token", "replay", "bench", "config", "cluster",
    "nodes", "events", "health", "drain", "rebalance", "shards", "haproxy", "chaos", "sim", "soak", "mutants",
)  # fmt: skip


class Commands(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command: click.Command = getattr(import_module(f"posthouse.cli.{cmd_name}"), cmd_name)
            return command
        if cmd_name.startswith("-"):
            return None
        raise click.exceptions.NoSuchCommand(cmd_name, possibilities=COMMANDS, ctx=ctx)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(Exit.INTERRUPTED)
        except BrokenPipeError:
            _give_up_on_output()
            ctx.exit(Exit.OK)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            failure = _failure_of(error)
            if failure is not None:
                ctx.ensure_object(Output).fail(failure)
                ctx.exit(failure.exit_code)
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), text) for code, text in EXIT_TEXTS.items()])


def _failure_of(error: Exception) -> Failure | None:
    """What to tell of an error, or None for one that nobody foresaw, which is shown as it is."""
    from posthouse.cli.explain import failure_of

    return error if isinstance(error, Failure) else failure_of(error)


def _give_up_on_output() -> None:
    """Whoever read our output has gone: let the interpreter's last flush go nowhere instead of failing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="posthouse %(version)s")
@json_option
@click.pass_context
def root(ctx: click.Context) -> None:
    """An instant-messaging service in one command.

    \b
      posthouse up                          run a server, and in other
      posthouse chat --as ann --with bob    terminals of the same folder
      posthouse chat --as bob --with ann    let two people chat
    """
    ctx.ensure_object(Output)
    if os.environ.get("NO_COLOR"):
        ctx.color = False
