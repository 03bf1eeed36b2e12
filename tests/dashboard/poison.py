"""Records that anyone may send, and what is wrong with each."""

import json
from typing import Any, Final

NOW_MS: Final = 1_800_000_000_000
# A prediction as the stream sends it.
GOOD: Final[dict[str, Any]] = {
    "symbol": "BTC-USD",
    "interval": "1m",
    "as_of": 1_700_000_040_000,
    "horizon": 5,
    "target_time": 1_700_000_340_000,
    "last_close": 100.0,
    "predicted_close": 101,
    "lower": 99.5,
    "upper": 102.5,
    "coverage": 0.9,
    "scale": 0.006,
    **{
        "q05": 99.5,
        "q10": 99.9,
        "q25": 100.5,
        "q50": 101.0,
        "q75": 101.5,
        "q90": 102.1,
        "q95": 102.5,
    },
    "proven": "how far",
    "model_version": "1m-1",
    "query_id": "q",
    "batch_id": 7,
    "predicted_at": 1_700_000_041_000,
}


def changed(**values: Any) -> bytes:
    """The good record with other values."""
    return json.dumps({**GOOD, **values}).encode()


def message(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode()


NO_PREDICTIONS: Final[dict[str, bytes | None]] = {
    "tombstone": None,
    "nothing": b"",
    "a list": b"[]",
    "an empty object": b"{}",
    "a number": b"7",
    "a text": b'"BTC-USD"',
    "null": b"null",
    "half a character": b'{"symbol": "\xc3"}',
    "half a surrogate": b'{"symbol": "\\ud800-USD"}',
    "nested": b"[" * 50_000,
    "nested objects": b'{"symbol":' * 20_000,
    "cut short": message(GOOD)[:-10],
    "long": changed(symbol="B" * 100_000 + "-USD"),
    "a column less": message({n: v for n, v in GOOD.items() if n != "upper"}),
    "NaN": message(GOOD).replace(b"100.0", b"NaN"),
    "infinite": message(GOOD).replace(b"100.0", b"1e999"),
    "a huge number": changed(as_of=10**30),
    "thousands of digits": message(GOOD).replace(b"100.0", b"9" * 6_000),
    "negative time": changed(as_of=-60_000, target_time=240_000),
    "a time as text": changed(as_of="2026-01-01"),
    "a time with a fraction": changed(as_of=1_700_000_040_000.5),
    "a flag for a number": changed(horizon=True),
    "a symbol as list": changed(symbol=["BTC-USD"]),
    "a symbol as object": changed(symbol={"BTC": "USD"}),
    "no symbol": changed(symbol=None),
    "a symbol of another form": changed(symbol="BTC/USD"),
    "another timeframe": changed(interval="7m"),
    "two lines": changed(model_version="1m-1\n# heading"),
    "a price of zero": changed(lower=0),
    "a negative price": changed(predicted_close=-1.0),
    "no horizon": changed(horizon=0, target_time=GOOD["as_of"]),
    "a horizon of years": changed(horizon=10**9),
    "a price beyond squares": changed(last_close=1e308),
    "a price of nothing": changed(predicted_close=1e-300),
    "a coverage below none": changed(coverage=-3.0),
    "no coverage": changed(coverage=0),
    "a coverage above all": changed(coverage=1e300),
    "an interval upside down": changed(lower=102.0, upper=101.0),
    "a negative size": changed(scale=-1.0),
    "a size beyond all prices": changed(scale=1e300),
    "a quantile of zero": changed(q05=0.0),
    "a quantile beyond squares": changed(q95=1e308),
    "a time of another age": changed(predicted_at=2**53 - 1),
    "a target of another age": changed(horizon=90_000, interval="1d", target_time=9 * 10**15),
    "made tomorrow": changed(as_of=NOW_MS + 86_400_000, target_time=NOW_MS + 86_700_000),
    "another target": changed(target_time=GOOD["target_time"] + 1),
}
NO_REJECTIONS: Final[dict[str, bytes | None]] = {
    **{name: NO_PREDICTIONS[name] for name in ("tombstone", "a list", "nested", "null")},
    "no reason": b'{"topic": "bars"}',
    "a reason as list": b'{"reason": []}',
}
