"""The command line, `posthouse`: one file per command, imported when it is used, so that a server starts fast."""


def main() -> None:
    """Run the command that the process was started with, and exit with a code of `posthouse.cli.failure.Exit`."""
    from posthouse.cli.root import root

    root(prog_name="posthouse")
