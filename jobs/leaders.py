"""Which series lead which, and the setting that makes use of it.

`candlecast leaders` looks at the archived bars that a model would be trained on; `--data DIR` at
recorded files. What is held back to judge models plays no part.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from conf.errors import NotEnoughBars
from conf.settings import Settings, load_settings
from jobs.terminal.program import run_program
from model.dataset import Span, covered, newest_share
from model.leading import Lead, Proposal, most_traded, propose
from model.series import Series
from store.recorded import read_file, series_files, series_name
from store.series import read_polled


def main(
    interval: Annotated[str, typer.Option(help="Length of a bar, in the archive.")] = "1m",
    data: Annotated[Path | None, typer.Option(help="A folder of recorded files instead.")] = None,
    candidates: Annotated[
        int, typer.Option(min=1, help="Only the most traded may lead; so many.")
    ] = 6,
) -> None:
    """Measure which series lead which, and propose leaders."""
    console = Console()
    settings = load_settings()
    series = _before_held_back(_read(settings, interval, data), settings.training.test_share)
    if len(series) < 2:
        raise NotEnoughBars("bars of one series alone: a leader is another one")
    names = most_traded(series, candidates)
    with console.status(f"{len(names)} candidates for {len(series)} series"):
        proposal = propose(series, names, settings.window.lookback)
    print_proposal(console, proposal)


def _read(settings: Settings, timeframe: str, data: Path | None) -> list[Series]:
    if data is None:
        polled = read_polled(settings, timeframe)
        return [one.reading(news=False, leaders=False) for one in polled]
    earliest = settings.ingest.earliest_ms
    files = series_files(data)
    return [read_file(file, series_name(file), earliest_ms=earliest) for file in files]


def _before_held_back(series: Sequence[Series], share: float) -> list[Series]:
    """What lies before the time that training would hold back, the same for all."""
    whole = Span(min(s.first_open_time for s in series), max(s.end_time for s in series))
    border = newest_share(covered(series, whole), share)
    return [cut for one in series if len((cut := one.until(border)).bars)]


def print_proposal(console: Console, proposal: Proposal) -> None:
    """The table for people, the best leader of each series alone, and the setting."""
    table = Table(title="what a leader's bar of the same time adds", box=box.SIMPLE_HEAD)
    for column in ("leader", "follower", "gain", "late", "p"):
        justify: Literal["left", "right"] = "left" if column.endswith("er") else "right"
        table.add_column(column, justify=justify, overflow="fold")
    for lead in shown(proposal):
        figures = f"{lead.gain:+.2%}", f"{lead.control:+.2%}", f"{lead.p_better:.2g}"
        table.add_row(lead.leader, lead.follower, *figures)
    console.print(table)
    if not proposal.leaders:
        console.print("no leader is worth it: leave `[market] leaders` empty", markup=False)
        return
    names = json.dumps(list(proposal.leaders))
    console.print("[market]", markup=False)
    console.print(f"leaders = {names}", markup=False, soft_wrap=True)


def shown(proposal: Proposal) -> list[Lead]:
    """The leads of those proposed; where none is, of each follower the one with the most gain."""
    if proposal.leaders:
        return [lead for lead in proposal.leads if lead.leader in proposal.leaders]
    best: dict[str, Lead] = {}
    for lead in proposal.leads:
        if lead.follower not in best or lead.gain > best[lead.follower].gain:
            best[lead.follower] = lead
    return list(best.values())


if __name__ == "__main__":
    run_program(lambda: typer.run(main))
