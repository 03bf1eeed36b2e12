"""Stand-ins for exchanges: all of ccxt as it describes them, and some with answers of their own."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import ccxt

MINUTE_MS: Final = 60_000
# Of one answer, where ccxt does not describe an exchange: few.
UNDESCRIBED_BARS: Final = 100


CANDLE: Final = ["10", "12", "9", "11", "1.5"]  # open, high, low, close, volume

# What stands in place of an exchange answers with: its open times, in the exchange's own form.
Wire = Callable[[str, dict[str, str], int], Any]


@cache
def described(name: str) -> Any:
    """The exchange as ccxt describes it."""
    return getattr(ccxt, name)()


EVERY: Final = [name for name in ccxt.exchanges if described(name).has.get("fetchOHLCV")]


def is_spot(name: str) -> bool:
    """Whether the exchange has spot markets; one that has not has contracts."""
    return bool(described(name).has.get("spot"))


def symbol_at(name: str) -> str:
    """A symbol of ours that the stand-in of the exchange offers."""
    return "BTC-USDT" if is_spot(name) else "BTC-USDT:USDT"


def described_bars(name: str) -> int:
    """How many candles ccxt says that the exchange gives in one answer for this symbol."""
    features = described(name).features or {}
    market = features.get("spot") if is_spot(name) else (features.get("swap") or {}).get("linear")
    limit = ((market or {}).get("fetchOHLCV") or {}).get("limit")
    return int(limit or UNDESCRIBED_BARS)


def load_markets(self: Any, reload: bool = False, params: object = None) -> Any:
    """In place of ccxt's: one market, without a call."""
    if self.markets is None:
        spot = bool(self.has.get("spot"))
        symbol = "BTC/USDT" if spot else "BTC/USDT:USDT"
        parts = {"base": "BTC", "quote": "USDT", "settle": None if spot else "USDT"}
        ids = {"id": "BTCUSDT", "baseId": "BTC", "quoteId": "USDT", "symbol": symbol}
        kind = {"spot": spot, "swap": not spot, "contract": not spot, "linear": not spot or None}
        made = {**ids, **parts, **kind, "type": "spot" if spot else "swap", "active": True}
        self.set_markets([self.safe_market_structure({**made, "info": {"instType": "SPOT"}})])
    return self.markets


def as_described(name: str, now_ms: Callable[[], int]) -> Callable[..., Any]:
    """`fetch_ohlcv` of an exchange that has every minute, and cuts as ccxt describes it."""

    def fetch_ohlcv(
        self: Any, symbol: str, timeframe: str, since: int, limit: int, params: object = None
    ) -> list[list[float]]:
        assert symbol in self.markets
        step_ms = self.parse_timeframe(timeframe) * 1000
        count = min(limit, described_bars(name))
        times = range(-(-since // step_ms) * step_ms, now_ms() + 1, step_ms)[:count]
        return [[time, 10.0, 12.0, 9.0, 11.0, 1.5] for time in times]

    return fetch_ohlcv


def minutes(first_ms: int, last_ms: int) -> range:
    return range(-(-first_ms // MINUTE_MS) * MINUTE_MS, last_ms + 1, MINUTE_MS)


def _binance(path: str, query: dict[str, str], now_ms: int) -> Any:
    found = minutes(int(query["startTime"]), now_ms)[: min(1_000, int(query["limit"]))]
    return [[t, *CANDLE, t + 59_999, "16", 3, "1", "1", "0"] for t in found]


def _okx(path: str, query: dict[str, str], now_ms: int) -> Any:
    found = minutes(int(query["before"]) + 1, min(now_ms, int(query["after"]) - 1))
    newest = found[::-1][: min(300, int(query["limit"]))]
    return {"code": "0", "data": [[str(t), *CANDLE, "16", "16", "1"] for t in newest]}


def _coinbase(path: str, query: dict[str, str], now_ms: int) -> Any:
    found = minutes(int(query["start"]) * 1000, min(now_ms, int(query["end"]) * 1000 - 1))
    if len(found) > 350:
        return {"error": "INVALID_ARGUMENT", "message": "number of candles requested"}
    prices = {"low": "9", "high": "12", "open": "10", "close": "11", "volume": "1.5"}
    return {"candles": [{"start": str(t // 1000), **prices} for t in found[::-1]]}


def _bybit(path: str, query: dict[str, str], now_ms: int) -> Any:
    found = minutes(int(query["start"]), now_ms)[: min(1_000, int(query["limit"]))]
    listed = [[str(t), *CANDLE, "16"] for t in found[::-1]]
    return {"retCode": 0, "result": {"category": "spot", "list": listed}}


def _upbit(path: str, query: dict[str, str], now_ms: int) -> Any:
    until = datetime.fromisoformat(query["to"].replace("Z", "+00:00")).timestamp() * 1000
    found = minutes(0, min(now_ms, int(until) - 1))[::-1][: min(200, int(query["count"]))]
    prices = {"opening_price": 10, "high_price": 12, "low_price": 9, "trade_price": 11}
    return [
        {
            "candle_date_time_utc": f"{datetime.fromtimestamp(t / 1000, UTC):%Y-%m-%dT%H:%M:%S}",
            "candle_acc_trade_volume": 1.5,
            **prices,
        }
        for t in found
    ]


def _bitbank(path: str, query: dict[str, str], now_ms: int) -> Any:
    """The day that is asked for, however many or few of its minutes that are."""
    day = datetime.strptime(path.rpartition("/")[2], "%Y%m%d").replace(tzinfo=UTC)
    begin = int(day.timestamp() * 1000)
    found = minutes(begin, min(now_ms, begin + 86_400_000 - 1))
    listed = [[*CANDLE, t] for t in found]
    return {"success": 1, "data": {"candlestick": [{"type": "1min", "ohlcv": listed}]}}


def _kraken(path: str, query: dict[str, str], now_ms: int) -> Any:
    """The newest 720, whatever is asked for."""
    found = minutes(max(int(query["since"]) * 1000 + 1, now_ms - 720 * MINUTE_MS), now_ms)
    listed = [[t // 1000, *CANDLE[:4], "10", "1.5", 3] for t in found]
    return {"error": [], "result": {"BTCUSDT": listed, "last": now_ms // 1000}}


OWN_ANSWERS: Final[dict[str, Wire]] = {
    "binance": _binance,
    "bitbank": _bitbank,
    "bybit": _bybit,
    "coinbase": _coinbase,
    "kraken": _kraken,
    "okx": _okx,
    "upbit": _upbit,
}


def on_the_wire(wire: Wire, now_ms: Callable[[], int]) -> Callable[..., Any]:
    """`fetch` of ccxt, the call of an address, with the answer of a stand-in."""

    def fetch(
        self: Any, url: str, method: str = "GET", headers: object = None, body: object = None
    ) -> Any:
        place = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(place.query).items()}
        return wire(place.path, query, now_ms())

    return fetch
