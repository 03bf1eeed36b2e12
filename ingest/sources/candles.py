"""What some exchanges tell of a candle beyond six numbers, by REST and by websocket.

ccxt's own parsers, which keep six, show where each thing stands.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from ingest.bar import OPTIONAL
from ingest.sources.rows import number

# By name, those of `OPTIONAL` that are not None.
Optional = dict[str, Any]


class Candle(NamedTuple):
    """A candle as it comes by websocket: the exchange's names of market and timeframe, a row as
    `Source.rows` says, and whether it is closed, None where the exchange does not say."""

    market: str
    timeframe: Any
    row: list[Any]
    closed: bool | None


class Form(NamedTuple):
    """The candles of one exchange: `fields` it tells beyond six numbers, of a row by REST given
    its market, and the candles of a message by websocket, of a market that is `spot`, `linear` or
    `inverse`."""

    fields: tuple[str, ...] = ()
    by_rest: Callable[[Any, Any], Optional] = lambda row, market: {}
    by_websocket: Callable[[Any, str], Iterator[Candle]] | None = None


def optional(known: Optional) -> list[Any]:
    """The values in the order of a row."""
    return [known.get(name) for name in OPTIONAL]


def _binance(row: Any, market: Any) -> Optional:
    return _binance_values(row[7:11], inverse=bool(market.get("inverse")))


def _binance_values(values: list[Any], inverse: bool) -> Optional:
    if inverse:  # volumes are in contracts, and what stands for the quote is the base
        return {"trades": values[1]}
    return dict(zip(OPTIONAL, values, strict=True))


def _binance_live(message: Any, kind: str) -> Iterator[Candle]:
    k = message["k"]
    known = _binance_values([k[name] for name in "qnVQ"], kind == "inverse")
    row = [*(k[name] for name in "tohlcv"), *optional(known)]
    yield Candle(k["s"], k["i"], row, k["x"] is True)


def _kraken_quote(average: Any, volume: Any) -> float:
    return number(average) * number(volume)


def _kraken(row: Any, market: Any) -> Optional:
    return {"quote_volume": _kraken_quote(row[5], row[6]), "trades": row[7]}


def _kraken_live(message: Any, kind: str) -> Iterator[Candle]:
    for candle in message["data"]:
        began = datetime.fromisoformat(candle["interval_begin"][:19] + "+00:00")
        quote = _kraken_quote(candle["vwap"], candle["volume"])
        numbers = [candle[name] for name in ("open", "high", "low", "close", "volume")]
        known = optional({"quote_volume": quote, "trades": candle["trades"]})
        row = [int(began.timestamp()) * 1000, *numbers, *known]
        yield Candle(candle["symbol"], candle["interval"], row, None)


def _okx(row: Any, market: Any) -> Optional:
    return {"quote_volume": row[7]}


def _okx_live(message: Any, kind: str) -> Iterator[Candle]:
    about = message["arg"]
    timeframe = about["channel"].removeprefix("candle")
    for raw in message["data"]:
        row = [int(raw[0]), *raw[1:5], raw[5 if kind == "spot" else 6], *optional(_okx(raw, None))]
        yield Candle(about["instId"], timeframe, row, raw[8] == "1")


def _bybit(row: Any, market: Any) -> Optional:
    return {"quote_volume": row[5 if market.get("inverse") else 6]}


def _bybit_live(message: Any, kind: str) -> Iterator[Candle]:
    _, timeframe, name = message["topic"].split(".")
    base, quote = "volume", "turnover"
    if kind == "inverse":  # there the volume is in the quote currency
        base, quote = quote, base
    for raw in message["data"]:
        numbers = [raw[value] for value in ("start", "open", "high", "low", "close", base)]
        row = [*numbers, *optional({"quote_volume": raw[quote]})]
        yield Candle(name, timeframe, row, raw["confirm"] is True)


def lacking_fields(source: str) -> frozenset[str]:
    """Which of `OPTIONAL` no bar of a source has; none where that is not known.

    >>> sorted(lacking_fields("exchange:okx"))
    ['taker_base_volume', 'taker_quote_volume', 'trades']
    >>> sorted(lacking_fields("recorded"))
    []
    """
    kind, _, name = source.partition(":")
    told = FORMS.get(name, Form()).fields if kind == "exchange" else TOLD.get(kind, OPTIONAL)
    return frozenset(OPTIONAL) - set(told)


_BINANCE: Final = Form(OPTIONAL, _binance, _binance_live)
FORMS: Final = {
    "binance": _BINANCE,
    "binanceus": _BINANCE,
    "kraken": Form(("quote_volume", "trades"), _kraken, _kraken_live),
    "coinbase": Form(),
    "okx": Form(("quote_volume",), _okx, _okx_live),
    "bybit": Form(("quote_volume",), _bybit, _bybit_live),
}
# What other sources tell.
TOLD: Final = dict.fromkeys(("cryptocompare", "coindesk", "synthetic"), ("quote_volume",))
