"""Alerts without Grafana: a message when something starts or stops, to any service Apprise knows.

Each alert is sent when it begins, again after a while if it goes on, and once when it is over; what
begins at one look goes in one message.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
from pydantic import SecretStr

from conf.events import event
from conf.sections import Alerts
from conf.settings import Secrets
from conf.state_files import read_state, write_state
from conf.timeframes import TIMEFRAME_MS
from ingest.bar import CLOCK_SKEW_MS
from jobs.scoring.kept import DAY_MS, FOLDER, new_files, opened
from jobs.scoring.market import market, market_events
from jobs.scoring.receivers import message, send
from store.prometheus import Samples

log = logging.getLogger(__name__)

_LAG: Final = ("candlecast_lag_records", ())
_BEHIND: Final = ("candlecast_ingest_seconds_behind", ())
_GAPS: Final = ("candlecast_ingest_gaps_open", ())
_POLLED_S: Final = ("candlecast_ingest_live_away_seconds", ())
# A websocket that is made anew is back by then; what lasts longer is the exchange's, or a wrong
# setting.
_LIVE_AWAY_S: Final = 600
_PUBLISHED: Final = "candlecast_ingest_bars_published_total"
_REJECTED: Final = "candlecast_ingest_rejected_total"
# Fewer records since the last look say nothing about a share.
_MIN_RECORDS: Final = 20
# So long a series is missed; then it counts as gone.
_MISSED_S: Final = 7 * DAY_MS / 1000
# By series: when it was last predicted live, how many of its bars came as they closed, and when the
# last. Recorded bars, years old, are no reason to wake anyone.
_SEEN: Final = f"""
WITH seen AS (
    SELECT symbol, interval, predicted_at AS predicted, NULL AS bar FROM kept.predictions
    WHERE NOT backfilled
    UNION ALL SELECT symbol, interval, epoch_ms(predicted_at), NULL FROM predictions_raw
    WHERE predicted_at <= target_time
    UNION ALL SELECT symbol, interval, NULL, time FROM kept.closes
    WHERE fetched_at - time BETWEEN -{CLOCK_SKEW_MS} AND 60000
    UNION ALL SELECT symbol, interval, NULL, epoch_ms(close_time) FROM bars
    WHERE epoch_ms(fetched_at) - epoch_ms(close_time) BETWEEN -{CLOCK_SKEW_MS} AND 60000)
SELECT symbol, interval, max(predicted) / 1000 AS predicted_s, max(bar) / 1000 AS bar_s,
       count(DISTINCT bar) AS bars
FROM seen WHERE interval IN (SELECT unnest($timeframes)) GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True)
class Alert:
    """Something a person should know; `name` stays the same while it lasts. What `repeats` is sent
    again while it goes on."""

    name: str
    text: str
    repeats: bool = True


@dataclass(frozen=True)
class Metrics:
    """What stream and ingest tell Prometheus; None where that does not answer, or is not asked."""

    stream: Samples | None = None
    ingest: Samples | None = None
    asks_ingest: bool = False
    longest_bar_s: float = 60.0


def raise_alerts(
    board: pd.DataFrame,
    warehouse_dir: Path,
    bounds: Alerts,
    metrics: Metrics | None = None,
    now: Callable[[], float] = time.time,
    webhook: SecretStr | None = None,
    lookback: int = 60,
) -> list[Alert]:
    """Find what is wrong, send what is new about it, and remember; returns what is wrong now."""
    metrics = metrics or Metrics()
    file = warehouse_dir / FOLDER / "alerts.json"
    state = read_state(file)
    before = _numbers(state.get("metrics"))
    seen = metrics_seen(metrics)
    found = [
        *silent(last_seen(warehouse_dir), bounds.silent_intervals, lookback, now()),
        *lag_rising(seen.get("lag"), before.get("lag"), bounds.lag_records),
        *ingest_alerts(metrics, seen, before, bounds),
        *badly_scored(board, bounds.coverage_tolerance, bounds.min_predictions),
        *market_alerts(warehouse_dir, bounds, metrics.longest_bar_s, now()),
    ]
    sent = _numbers(state.get("sent"))
    due, over = changes(found, sent, bounds.repeat_after_s, now())
    url = webhook or Secrets().alert_webhook_url
    texts = [alert.text for alert in due] + [f"over: {name}" for name in over]
    for text in texts:
        event(log, "alert", level=logging.WARNING, text=text)
    if not texts or url is None or send(message(texts), url, bounds):
        kept = {alert.name: sent.get(alert.name, now()) for alert in found}
        sent = {**kept, **{alert.name: now() for alert in due}}
    write_state(file, {"metrics": seen, "sent": sent})
    return found


def _numbers(state: Any) -> dict[str, float]:
    """What a state file says that are numbers by name; nothing of anything else."""
    items = state.items() if isinstance(state, dict) else ()
    return {name: float(value) for name, value in items if isinstance(value, int | float)}


def last_seen(warehouse_dir: Path) -> pd.DataFrame:
    """When each series was last predicted live, and when its newest live bar closed."""
    files = [file for group in new_files(warehouse_dir) for file in group]
    with opened(warehouse_dir, files) as connection:
        found: pd.DataFrame = connection.execute(_SEEN, {"timeframes": list(TIMEFRAME_MS)}).df()
    return found


def silent(seen: pd.DataFrame, bars: int, lookback: int, now_s: float) -> list[Alert]:
    """No live prediction for so many bars: of a timeframe, of a symbol, or at all."""
    found = []
    for timeframe, series in seen.groupby("interval"):
        longest_s = (bars + 1) * TIMEFRAME_MS[str(timeframe)] / 1000
        predicted = series[series["predicted_s"].notna()]
        age_s = now_s - predicted["predicted_s"]
        if len(predicted) and (age_s > longest_s).all():
            text = f"no {timeframe} prediction for {age_s.min():.0f} s"
            found.append(Alert(f"silent {timeframe}", text))
            continue
        missed = predicted["symbol"][(age_s > longest_s) & (age_s < _MISSED_S)]
        for symbol, age in zip(missed, age_s[missed.index], strict=True):
            text = f"no {timeframe} prediction of {symbol} for {age:.0f} s"
            found.append(Alert(f"silent {symbol} {timeframe}", text))
        fresh = now_s - series["bar_s"] <= longest_s
        never = series[series["predicted_s"].isna() & fresh & (series["bars"] > lookback + bars)]
        if len(never):
            text = f"{len(never)} {timeframe} series have bars and were never predicted"
            found.append(Alert(f"never predicted {timeframe}", f"{text}: is there a champion?"))
    return found


def metrics_seen(metrics: Metrics) -> dict[str, float]:
    """The numbers that the next look compares with."""
    seen = (
        {}
        if metrics.stream is None or _LAG not in metrics.stream
        else {"lag": metrics.stream[_LAG]}
    )
    for name, metric in (("published", _PUBLISHED), ("rejected", _REJECTED)):
        if metrics.ingest is not None:
            parts = [value for (found, _), value in metrics.ingest.items() if found == metric]
            seen[name] = float(sum(parts))
    return seen


def ingest_alerts(
    metrics: Metrics, seen: dict[str, float], before: dict[str, float], bounds: Alerts
) -> Iterator[Alert]:
    """Ingest that does not answer, is behind, has gaps, or rejects much of what comes."""
    if not metrics.asks_ingest:
        return
    if metrics.ingest is None:
        yield Alert("ingest does not answer", "ingest does not answer where its metrics are asked")
        return
    behind_s, gaps = metrics.ingest.get(_BEHIND, 0.0), metrics.ingest.get(_GAPS, 0.0)
    if behind_s > (bounds.silent_intervals + 1) * metrics.longest_bar_s:
        yield Alert(
            "ingest behind", f"the symbol furthest behind has no bar since {behind_s:.0f} s"
        )
    if gaps > bounds.gap_bars:
        yield Alert("ingest gaps", f"{gaps:.0f} bars are missing between others")
    if (away_s := metrics.ingest.get(_POLLED_S, 0.0)) > _LIVE_AWAY_S:
        yield Alert("ingest polls", f"a websocket is away for {away_s:.0f} s: polled")
    # Counters begin anew with a new process.
    rejected, published = (
        seen[name] - before.get(name, 0.0) if seen[name] >= before.get(name, 0.0) else seen[name]
        for name in ("rejected", "published")
    )
    share = rejected / max(rejected + published, 1)
    if rejected + published >= _MIN_RECORDS and share > bounds.rejected_share:
        yield Alert("ingest rejects", f"ingest rejects {share:.1%} of what comes")


def lag_rising(lag: float | None, before: float | None, bound: float) -> list[Alert]:
    """The stream reads more slowly than bars come.

    >>> lag_rising(3000.0, 2000.0, 1000)[0].text
    'the stream is 3,000 records behind, 2,000 at the last look'
    >>> lag_rising(2000.0, 3000.0, 1000)
    []
    """
    if lag is None or before is None or lag <= max(bound, before):
        return []
    text = f"the stream is {lag:,.0f} records behind, {before:,.0f} at the last look"
    return [Alert("lag rising", text)]


def badly_scored(board: pd.DataFrame, tolerance: float, min_predictions: int) -> list[Alert]:
    """Live series whose intervals or skill have been off for a day."""
    found: list[Alert] = []
    if board.empty:
        return found
    day = board[(board["span"] == "24h") & ~board["backfilled"].astype(bool)]
    rows: Iterator[Any] = day[day["predictions"] >= min_predictions].itertuples()
    for row in rows:
        series = f"{row.symbol} {row.horizon} x {row.interval} {row.model_version}"
        coverage, promised = float(row.interval_coverage), float(row.promised_coverage)
        if abs(coverage - promised) > tolerance:
            text = f"{series}: intervals held {coverage:.1%}, promised {promised:.0%}, over a day"
            found.append(Alert(f"coverage {series}", text))
        if float(row.skill_persistence) < 0:
            text = f"{series}: skill {row.skill_persistence:+.2%} against persistence over a day"
            found.append(Alert(f"skill {series}", text))
    return found


def market_alerts(
    warehouse_dir: Path, bounds: Alerts, longest_bar_s: float, now_s: float
) -> list[Alert]:
    """What the market does, where it is asked for; of series whose bars still come."""
    if not bounds.outside_interval and not bounds.livelier_than:
        return []
    since_s = now_s - (bounds.silent_intervals + 1) * longest_bar_s
    rows = market(warehouse_dir, int(since_s * 1000))
    return [Alert(*found, repeats=False) for found in market_events(rows, bounds)]


def changes(
    found: list[Alert], sent: dict[str, float], repeat_after_s: float, now_s: float
) -> tuple[list[Alert], list[str]]:
    """What to send now: alerts that are new or due again, names of those that are over."""
    due = [
        a
        for a in found
        if a.name not in sent or (a.repeats and now_s - sent[a.name] >= repeat_after_s)
    ]
    names = {alert.name for alert in found}
    return due, [name for name in sent if name not in names]
