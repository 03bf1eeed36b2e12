"""`candlecast watch`: the page's overview in a terminal, for those on a server."""

import time
from contextlib import suppress
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from conf.settings import load_settings
from conf.shown import shown_price
from conf.timeframes import TIMEFRAME_MS
from dashboard.api_types import Ahead, Card
from dashboard.overview import Overview
from dashboard.running import ago
from dashboard.sources import Sources
from jobs.terminal.logs import configure_logging

LOOK_EVERY_S: Final = 1.0
COLUMNS: Final = ("series", "price", "next", "than usual", "record", "predicted")


def watch(
    once: Annotated[bool, typer.Option(help="print the table once and end")] = False,
) -> None:
    """Show every series, what comes next, and how good that was, until Ctrl-C."""
    configure_logging()
    sources = Sources.open(load_settings())
    overview = Overview(sources)
    try:
        overview.refresh()
        if once:
            Console().print(board(overview.cards(), time.time()))
            return
        overview.start()
        with suppress(KeyboardInterrupt), Live(board([], 0.0), screen=True) as shown:
            while True:
                shown.update(board(overview.cards(), time.time()))
                time.sleep(LOOK_EVERY_S)
    finally:
        sources.close()


def board(cards: list[Card], now_s: float) -> Table:
    """The cards as rows; `now_s` is the time of reading, unix seconds."""
    table = Table(title="Candlecast", caption="No trading advice. Ctrl-C ends.")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "series" else "right")
    for card in cards:
        close = shown_price(card.closes[-1]) if card.closes else "-"
        told = _told(card, card.ahead[-1], now_s) if card.ahead else ("-", "-", "-", "nothing yet")
        table.add_row(f"{card.symbol} {card.interval}", close, *told)
    return table


def _told(card: Card, ahead: Ahead, now_s: float) -> tuple[str, str, str, str]:
    minutes = ahead.horizon * TIMEFRAME_MS[card.interval] / 60_000
    half = (ahead.upper - ahead.lower) / 2 / ahead.last_close
    lively = "-" if ahead.livelier is None else f"livelier than {ahead.livelier:.0%}"
    record = ahead.record
    skill = "not scored yet" if record is None else "too early to tell"
    if record is not None and record.verdict != "early" and record.skill is not None:
        skill = f"{abs(record.skill):.2%} {record.verdict}"
    age = ago(max(0.0, now_s - ahead.predicted_at / 1000))
    return f"±{half:.2%} in {minutes:g} min", lively, skill, age
