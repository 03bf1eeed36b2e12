"""`candlecast backup` and `candlecast restore`: what the stream needs to go on, of one moment.

Everything that writes is stopped meanwhile: the stream, `score`, `retrain`, housekeeping. Kafka's
topics are not part of it: a restored stream goes on where its checkpoint stands on the same topics.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from conf.errors import MissingPrerequisite
from conf.settings import Settings, load_settings
from model.decisions import Arena, deciding
from store.backup import Places, back_up, held
from store.backup import restore as restored


def backup(folder: Annotated[Path, typer.Argument(help="a new or empty folder")]) -> None:
    """Copy warehouse, checkpoint and registry into a folder; the stream is stopped meanwhile."""
    settings = load_settings()
    places = Places.of(settings)
    with _stopped(settings), deciding(Arena.of(settings).promotions_dir):
        _say(back_up(places, folder), f"in {folder}")


def restore(folder: Annotated[Path, typer.Argument(help="what `candlecast backup` made")]) -> None:
    """Bring warehouse, checkpoint and registry back, where none of them is yet."""
    settings = load_settings()
    places = Places.of(settings)
    with _stopped(settings):
        _say(restored(folder, places), f"from {folder}")


@contextmanager
def _stopped(settings: Settings) -> Iterator[None]:
    """Nothing else writes meanwhile; a disk that is full or can't be read needs a person."""
    try:
        with held(settings):
            yield
    except OSError as error:
        raise MissingPrerequisite(f"nothing is complete: {error}") from error


def _say(files: dict[str, int], where: str) -> None:
    counts = ", ".join(f"{count:,} of {name}" for name, count in files.items())
    typer.echo(f"files {where}: {counts}")
