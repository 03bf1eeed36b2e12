"""The command `candlecast`.

Each command lives in a module of its own, imported when it is run: Spark and TensorFlow take
seconds that `candlecast --help` should not.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from conf.settings import home_variables
from jobs.terminal.program import run_program

# By name, where it lives and what the list of commands says of it. The stream alone is no command:
# it is started by `spark-submit jobs/predict_stream.py`, which chooses Spark's master.
COMMANDS: Final = {
    "demo": ("jobs.demo:demo", "Live predictions from recorded bars, all in one terminal."),
    "start": ("jobs.start:start", "From nothing to live predictions: asks, checks, runs."),
    "run": ("jobs.run:run", "Keep ingest, stream and the rest alive."),
    "ingest": ("jobs.ingest_bars:ingest", "Publish closed bars to Kafka."),
    "train": ("jobs.train:main", "Train on the warehouse, and let the best model serve."),
    "retrain": ("jobs.retrain:main", "Retrain on a schedule, or when live scores fall."),
    "leaders": ("jobs.leaders:main", "Measure which series lead which."),
    "score": ("jobs.score:score", "Score predictions against persistence and ARIMA."),
    "models": ("jobs.models:models", "List the models and why they serve or do not."),
    "promote": ("jobs.models:promote", "Make a version the champion, by hand."),
    "rollback": ("jobs.models:rollback", "Give the alias back to the champion before."),
    "evaluate": ("jobs.evaluate:main", "Walk forward through price files, against baselines."),
    "ablation": ("jobs.ablation:main", "Measure whether news make forecasts better."),
    "dashboard": ("jobs.page:dashboard", "Show it all on a web page, and over HTTP."),
    "watch": ("jobs.watch:watch", "Show every series and what comes next, in the terminal."),
    "explain": ("jobs.explain:explain", "Say how far the price may move, in a sentence."),
    "api": ("jobs.page:api", "Serve predictions, scores and health over HTTP."),
    "export": ("jobs.export:export", "Write a table as CSV, Parquet or JSON."),
    "sql": ("jobs.sql:sql", "Query the warehouse in SQL."),
    "housekeeping": ("jobs.housekeeping:housekeeping", "Keep the warehouse small."),
    "backup": ("jobs.backup:backup", "Copy all that the stream needs to go on."),
    "restore": ("jobs.backup:restore", "Bring a backup back onto an empty place."),
    "upgrade": ("jobs.upgrade:upgrade", "Say what this version makes of another's state."),
    "compact": ("jobs.housekeeping:housekeeping", "The same as housekeeping."),
}


class LazyCommands(TyperGroup):
    """The commands of COMMANDS, imported one at a time."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None; for the list of `--help`, only its description."""
        if cmd_name not in COMMANDS:
            return None
        target, text = COMMANDS[cmd_name]
        module, _, function = target.partition(":")
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        wanted = cmd_name in sys.argv[1:4]  # behind `--warehouse DIR`, too
        run = getattr(import_module(module), function) if wanted else lambda: None
        single.command(cmd_name, help=None if wanted else text)(run)
        return typer.main.get_command(single)


group = typer.Typer(
    cls=LazyCommands,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Real-time cryptocurrency price prediction. No trading advice.",
)


@group.callback()
def _root(
    warehouse: Annotated[
        Path | None,
        typer.Option(help="where tables, checkpoint, registry and reports lie"),
    ] = None,
) -> None:
    if warehouse is not None:
        os.environ.update(home_variables(warehouse))


def app() -> None:
    """Run a command; an error of ours is one line and an exit code, not a stack trace."""
    run_program(group)


if __name__ == "__main__":
    app()
