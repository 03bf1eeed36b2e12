"""Alerts without Grafana: a message to Slack, Discord or Telegram when something starts or stops.

Each alert is said once when it begins, again after a while if it goes on, and once when it is over.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import requests
from pydantic import SecretStr

from conf.settings import Alerts, Secrets
from conf.timeframes import TIMEFRAME_MS
from store.prometheus import Samples
from store.views import open_duckdb

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10
_LAG: Final = ("candlecast_lag_records", ())
# Of live predictions only: recorded bars, years old, are no reason to wake anyone.
_NEWEST_LIVE: Final = """
SELECT interval, epoch_ms(max(predicted_at)) FROM predictions_raw
WHERE predicted_at <= target_time GROUP BY interval
"""


@dataclass(frozen=True)
class Alert:
    """Something a person should know; `name` stays the same while it lasts."""

    name: str
    text: str


def raise_alerts(
    board: pd.DataFrame,
    warehouse_dir: Path,
    bounds: Alerts,
    metrics: Samples | None,
    now: Callable[[], float] = time.time,
    webhook: SecretStr | None = None,
) -> list[Alert]:
    """Find what is wrong, say what is new about it, and remember; returns what is wrong now."""
    file = warehouse_dir / "_scores" / "alerts.json"
    state: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    lag = None if metrics is None else metrics.get(_LAG)
    found = [
        *silent(warehouse_dir, bounds.silent_intervals, now()),
        *lag_rising(lag, state.get("lag"), bounds.lag_records),
        *badly_scored(board, bounds.coverage_tolerance, bounds.min_predictions),
    ]
    said: dict[str, float] = state.get("said", {})
    due, over = changes(found, said, bounds.repeat_after_s, now())
    url = webhook or Secrets().alert_webhook_url
    delivered = True
    for text in [alert.text for alert in due] + [f"over: {name}" for name in over]:
        log.warning("alert=%r", text)
        delivered = (url is None or send(text, url, bounds)) and delivered
    if delivered:
        kept = {alert.name: said.get(alert.name, now()) for alert in found}
        said = {**kept, **{alert.name: now() for alert in due}}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"lag": lag, "said": said}))
    return found


def silent(warehouse_dir: Path, intervals: int, now_s: float) -> list[Alert]:
    """No live prediction for so many lengths of a bar."""
    with open_duckdb(warehouse_dir) as connection:
        newest = connection.execute(_NEWEST_LIVE).fetchall()
    quiet = [(name, now_s - at / 1000) for name, at in newest]
    return [
        Alert(f"silent {name}", f"no {name} prediction for {age:.0f} s")
        for name, age in quiet
        if age > (intervals + 1) * TIMEFRAME_MS[name] / 1000
    ]


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
    found = []
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


def changes(
    found: list[Alert], said: dict[str, float], repeat_after_s: float, now_s: float
) -> tuple[list[Alert], list[str]]:
    """What has to be said now: alerts that are new or due again, names of those that are over."""
    due = [a for a in found if now_s - said.get(a.name, -repeat_after_s) >= repeat_after_s]
    names = {alert.name for alert in found}
    return due, [name for name in said if name not in names]


def send(text: str, url: SecretStr, bounds: Alerts) -> bool:
    """Post one message in the form that the receiver knows; whether it was taken."""
    content: dict[str, dict[str, str]] = {
        "slack": {"text": f"Candlecast: {text}"},
        "discord": {"content": f"Candlecast: {text}"},
        "telegram": {"chat_id": bounds.telegram_chat_id, "text": f"Candlecast: {text}"},
    }
    try:
        answer = requests.post(url.get_secret_value(), json=content[bounds.form], timeout=TIMEOUT_S)
    except requests.RequestException as error:
        # The URL is the secret: requests puts it into its message.
        log.warning("alert=undelivered reason=%s", type(error).__name__)
        return False
    if not answer.ok:
        log.warning("alert=undelivered status=%d", answer.status_code)
    return answer.ok
