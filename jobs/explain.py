"""`candlecast explain SYMBOL`: what may come next, in one sentence a horizon."""

from typing import Annotated

import typer

from conf.errors import ConfigurationError
from conf.settings import load_settings
from conf.timeframes import TIMEFRAME_MS
from dashboard.outlook import outlooks
from dashboard.tables import Tables


def explain(
    symbol: Annotated[str, typer.Argument(help="such as BTC-USD")],
    interval: Annotated[str, typer.Option(help="Length of a bar.")] = "1m",
    move: Annotated[float, typer.Option(help="how likely a larger move is, in per cent")] = 0.5,
) -> None:
    """Say how far the price may move, how likely that is, and how good this was so far."""
    if interval not in TIMEFRAME_MS:
        raise ConfigurationError(f"--interval {interval}: there are {', '.join(TIMEFRAME_MS)}")
    if not 0 < move < 100:
        raise ConfigurationError(f"--move {move}: it must lie between 0 and 100")
    found = outlooks(Tables(load_settings().warehouse.folder), symbol, interval, move / 100)
    if not found:
        raise ConfigurationError(
            f'nothing is predicted of {symbol} {interval}; `candlecast sql "SELECT DISTINCT '
            'symbol, interval FROM predictions"` says of what'
        )
    for one in found:
        typer.echo(one.sentence)
