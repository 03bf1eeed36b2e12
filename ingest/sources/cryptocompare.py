"""CryptoCompare's min-api: `/data/v2/histominute`, `histohour` and `histoday`.

Errors mostly come as HTTP 200, so the body decides. An answer holds `limit + 1` bars, the last of
them still forming where `toTs` is now.
"""

from collections.abc import Mapping
from typing import Any, Final

from conf.errors import ConfigurationError, NotOffered, RateLimited, SourceUnavailable
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar
from ingest.http import JsonClient, refuse_status
from ingest.sources import SourceOptions

BASE_URL: Final = "https://min-api.cryptocompare.com"
KEY_VARIABLE: Final = "CRYPTOCOMPARE_API_KEY"
# Endpoint, `aggregate`, and seconds that an answer is cached.
ENDPOINTS: Final = {
    "1m": ("/data/v2/histominute", 1, 40.0),
    "5m": ("/data/v2/histominute", 5, 40.0),
    "15m": ("/data/v2/histominute", 15, 40.0),
    "1h": ("/data/v2/histohour", 1, 610.0),
    "1d": ("/data/v2/histoday", 1, 610.0),
}
MAX_POINTS: Final = 2_000  # of the endpoint's own unit, before `aggregate`
MINUTES_KEPT_MS: Final = 7 * 86_400_000
# Values of `Type` in an error's body.
TYPE_KEY_NEEDED: Final = 1
TYPE_BAD_PARAMETER: Final = 2
TYPE_RATE_LIMIT: Final = 99


class CryptoCompare:
    """Bars of the index CCCAGG, the paper's source; needs a key since May 2026."""

    name = "cryptocompare"
    metered = True

    def __init__(self, options: SourceOptions) -> None:
        self._clock = options.clock
        key = options.api_key
        self._client = JsonClient(
            options.base_url or BASE_URL,
            headers={"Authorization": f"Apikey {key}"} if key else None,
            timeout_s=options.timeout_s,
            count_call=options.count_call,
        )

    def page_bars(self, timeframe: str) -> int:
        """The most bars that one `fetch` may ask for."""
        return MAX_POINTS // ENDPOINTS[timeframe][1]

    def keeps_ms(self, timeframe: str) -> int | None:
        """Minutes reach back seven days, hours and days to the beginning."""
        return MINUTES_KEPT_MS if ENDPOINTS[timeframe][0].endswith("minute") else None

    def cache_s(self, timeframe: str) -> float:
        """How old an answer may be, in seconds."""
        return ENDPOINTS[timeframe][2]

    def fetch(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> list[Bar]:
        """Ask once for the bars with `first_ms <= open_time <= last_ms`, ascending."""
        path, aggregate, _ = ENDPOINTS[timeframe]
        base, _, quote = symbol.partition("-")
        count = (last_ms - first_ms) // TIMEFRAME_MS[timeframe] + 1
        parameters: dict[str, str | int] = {
            "fsym": base,
            "tsym": quote,
            # One bar comes on top; a limit of 0 is no number to this API.
            "limit": max(1, count - 1),
            "toTs": last_ms // 1000,
            "aggregate": aggregate,
        }
        rows = rows_of(checked(self._client, path, parameters, self._clock.now_ms()))
        bars = [_bar(row, symbol, timeframe, self._clock.now_ms()) for row in rows]
        # Zeros are how this API says that it has nothing at that time.
        found = {bar.open_time: bar for bar in bars if first_ms <= bar.open_time <= last_ms}
        return [found[time] for time in sorted(found) if found[time].close != 0]


def checked(
    client: JsonClient, path: str, parameters: Mapping[str, str | int], now_ms: int
) -> dict[str, Any]:
    """Ask min-api once and return the body of a success.

    Raises what `Source.fetch` may raise; the body's `Type` tells which.
    """
    status, headers, body = client.get(path, parameters)
    if not isinstance(body, dict):
        raise SourceUnavailable(f"{path} answered a {type(body).__name__} instead of an object")
    problem = body.get("Err") or {}
    message = str(body.get("Message") or problem.get("message") or "")
    refuse_status(status, headers, message, now_ms=now_ms, key_variable=KEY_VARIABLE)
    if body.get("Response") == "Error" or problem:
        raise _error(body, message, path)
    return body


def _error(body: Mapping[str, Any], message: str, path: str) -> Exception:
    kind = body.get("Type")
    if kind == TYPE_RATE_LIMIT:
        cooldown = body.get("Cooldown")
        wait_s = float(cooldown) if isinstance(cooldown, int | float) else None
        return RateLimited(f"{path}: {message}", wait_s)
    if kind == TYPE_KEY_NEEDED:
        return ConfigurationError(f"{path}: {message}: set {KEY_VARIABLE} to a valid API key")
    if kind == TYPE_BAD_PARAMETER:
        return NotOffered(f"{path}: {message} (parameter {body.get('ParamWithError', 'unknown')})")
    return SourceUnavailable(f"{path}: {message} (Type {kind})")


def rows_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The bars in an answer: under `Data.Data` in v2, under `Data` in v1.

    Raises SourceUnavailable where there are none: an answer holds at least one bar.

    >>> rows_of({"Response": "Success", "Data": {"Data": [{"time": 60}]}})
    [{'time': 60}]
    """
    data = body.get("Data")
    rows = data.get("Data") if isinstance(data, dict) else data
    if not isinstance(rows, list) or not rows:
        raise SourceUnavailable("the answer is a success without a single bar")
    return rows


def _bar(row: Mapping[str, Any], symbol: str, timeframe: str, now_ms: int) -> Bar:
    try:
        return Bar(
            symbol,
            timeframe,
            int(row["time"]) * 1000,
            float(row["open"]),
            float(row["high"]),
            float(row["low"]),
            float(row["close"]),
            float(row["volumefrom"]),
            None if row.get("volumeto") is None else float(row["volumeto"]),
            CryptoCompare.name,
            now_ms,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceUnavailable(f"a bar of {symbol} can't be read: {error!r}") from error
