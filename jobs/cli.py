"""The command `candlecast`. Each command lives in a module of its own, imported when it is asked
for: Spark and TensorFlow take seconds that `candlecast --help` should not.
"""

import os
import sys
from importlib import import_module
from typing import Final

import click
import typer
from rich.console import Console

from conf.errors import CandlecastError

COMMANDS: Final = {
    "demo": ("jobs.demo:demo", "Live predictions from recorded bars, all in one terminal."),
    "ingest": ("jobs.ingest:ingest", "Publish closed bars to Kafka."),
    "sql": ("jobs.sql:sql", "Query the warehouse with Spark SQL."),
}


class LazyCommands(click.Group):
    """The commands of COMMANDS, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and let Typer read its signature."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name][0].partition(":")
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(cmd_name)(getattr(import_module(module), function))
        return typer.main.get_command(single)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for `--help`, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def app() -> None:
    """Run a command; an error of ours is one line and an exit code, not a stack trace."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    group = LazyCommands(name="candlecast", help="Real-time price prediction. No trading advice.")
    try:
        group.main(prog_name="candlecast")
    except CandlecastError as error:
        Console(stderr=True).print(f"candlecast: {error}", style="red", highlight=False)
        sys.exit(error.exit_code)
