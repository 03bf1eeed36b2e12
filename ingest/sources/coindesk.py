"""CoinDesk's Data API, min-api's successor: the index `cadli`, with true HTTP codes."""

from collections.abc import Mapping
from typing import Any, Final

from conf.errors import NotOffered, SourceUnavailable
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import Bar
from ingest.http import JsonClient, refuse_status
from ingest.sources import SourceOptions

BASE_URL: Final = "https://data-api.coindesk.com"
KEY_VARIABLE: Final = "CRYPTOCOMPARE_API_KEY"  # one key for both APIs
MARKET: Final = "cadli"
# Endpoint, `aggregate`, and seconds that an answer is taken to be cached: as with min-api.
ENDPOINTS: Final = {
    "1m": ("/index/cc/v1/historical/minutes", 1, 40.0),
    "5m": ("/index/cc/v1/historical/minutes", 5, 40.0),
    "15m": ("/index/cc/v1/historical/minutes", 15, 40.0),
    "1h": ("/index/cc/v1/historical/hours", 1, 610.0),
    "1d": ("/index/cc/v1/historical/days", 1, 610.0),
}
MAX_POINTS: Final = 2_000
MINUTES_KEPT_MS: Final = 7 * 86_400_000


class CoinDesk:
    """Bars of one index of CoinDesk's Data API: `coindesk` is cadli, `coindesk:ccix` another."""

    metered = True

    def __init__(self, options: SourceOptions) -> None:
        self._clock = options.clock
        self._market = options.argument or MARKET
        self.name = f"coindesk:{self._market}"
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
        """Minutes are taken to reach back seven days as in min-api, hours and days for ever."""
        return MINUTES_KEPT_MS if ENDPOINTS[timeframe][0].endswith("minutes") else None

    def cache_s(self, timeframe: str) -> float:
        """How old an answer may be, in seconds."""
        return ENDPOINTS[timeframe][2]

    def fetch(self, symbol: str, timeframe: str, first_ms: int, last_ms: int) -> list[Bar]:
        """Ask once for the bars with `first_ms <= open_time <= last_ms`, ascending."""
        path, aggregate, _ = ENDPOINTS[timeframe]
        parameters: dict[str, str | int] = {
            "market": self._market,
            "instrument": symbol,
            "limit": (last_ms - first_ms) // TIMEFRAME_MS[timeframe] + 1,
            "to_ts": last_ms // 1000,
            "aggregate": aggregate,
            "fill": "true",
        }
        now_ms = self._clock.now_ms()
        rows = checked(self._client, path, parameters, now_ms)
        if not rows:
            raise SourceUnavailable(f"{path} is a success without a single bar of {symbol}")
        bars = [self._bar(row, symbol, timeframe, now_ms) for row in rows]
        found = {bar.open_time: bar for bar in bars if first_ms <= bar.open_time <= last_ms}
        return [found[time] for time in sorted(found) if found[time].close != 0]

    def _bar(self, row: Mapping[str, Any], symbol: str, timeframe: str, now_ms: int) -> Bar:
        try:
            quote = row.get("QUOTE_VOLUME")
            return Bar(
                symbol,
                timeframe,
                int(row["TIMESTAMP"]) * 1000,
                float(row["OPEN"]),
                float(row["HIGH"]),
                float(row["LOW"]),
                float(row["CLOSE"]),
                float(row["VOLUME"]),
                None if quote is None else float(quote),
                self.name,
                now_ms,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceUnavailable(f"a bar of {symbol} can't be read: {error!r}") from error


def checked(
    client: JsonClient, path: str, parameters: Mapping[str, str | int], now_ms: int
) -> list[dict[str, Any]]:
    """Ask the Data API once and return the list under `Data`.

    Raises what `Source.fetch` may raise: 400 and 404 mean that the instrument is not offered.
    """
    status, headers, body = client.get(path, parameters)
    if not isinstance(body, dict):
        raise SourceUnavailable(f"{path} answered a {type(body).__name__} instead of an object")
    problem = body.get("Err") or {}
    message = str(problem.get("message") or "")
    if status in (400, 404):
        raise NotOffered(f"{path}: HTTP {status}: {message}")
    refuse_status(status, headers, message, now_ms=now_ms, key_variable=KEY_VARIABLE)
    rows = body.get("Data")
    if problem or not isinstance(rows, list):
        raise SourceUnavailable(f"{path} answered without a list under Data: {message}")
    return rows
