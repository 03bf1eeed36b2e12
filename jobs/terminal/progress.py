"""Progress bars of a backfill and of a training: how much of how much, how long still."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:  # it comes with TensorFlow
    from model.lstm import EpochDone

Advance = Callable[[int], None]


class RateColumn(ProgressColumn):
    """Bars a second."""

    def render(self, task: Task) -> Text:
        """The rate, once there is one."""
        return Text(f"{task.speed:,.0f} bars/s" if task.speed else "", style="cyan")


@contextmanager
def backfill_bar(title: str, total: int | None) -> Iterator[Advance]:
    """Show a bar on a terminal while the block runs, and nothing anywhere else.

    Yields a function to call with every few bars more; `total` None where nobody knows it. The bar
    goes once it is full: what comes after is live.
    """
    if not sys.stderr.isatty() or total == 0:
        yield lambda bars: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)

        def advance(bars: int) -> None:
            progress.advance(task, bars)
            if total is not None and progress.tasks[0].completed >= total:
                progress.stop()

        yield advance


@contextmanager
def training_bar(console: Console, max_epochs: int) -> Iterator["EpochDone"]:
    """Show the epochs with their loss and the time left while the block runs.

    Yields what to call after each epoch: with its number from 0, the loss, the validation loss.
    """
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("epoch {task.completed}/{task.total}  {task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting TensorFlow", total=max_epochs)

        def done(epoch: int, loss: float, validation_loss: float) -> None:
            described = f"loss {loss:.4f}, validation {validation_loss:.4f}"
            progress.update(task, completed=epoch + 1, description=described)

        yield done
