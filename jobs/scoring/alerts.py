"""Alerts without Grafana: a message when something starts or stops, to any service Apprise knows.

Each alert is sent once when it begins, again after a while if it goes on, and once when it is over.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pandas as pd
from pydantic import SecretStr

from conf.events import event
from conf.settings import Alerts, Secrets
from store.prometheus import Samples
from store.views import read_sql

log = logging.getLogger(__name__)

_LAG: Final = ("candlecast_lag_records", ())
# Of live predictions only: recorded bars, years old, are no reason to wake anyone.
_NEWEST_LIVE: Final = """
SELECT interval, epoch_ms(max(predicted_at)) / 1000 AS at_s,
       min((epoch_ms(target_time) - epoch_ms(as_of)) / horizon) / 1000 AS bar_s
FROM predictions_raw WHERE predicted_at <= target_time GROUP BY interval
"""
# The name of the text in the JSON that each form takes; Apprise's own other fields are left out.
_TEXT: Final = {"slack": "text", "discord": "content", "telegram": "text"}
_LEFT_OUT: Final = "&:title=&:version=&:type=&:attachments="


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
    """Find what is wrong, send what is new about it, and remember; returns what is wrong now."""
    file = warehouse_dir / "_scores" / "alerts.json"
    state: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    lag = None if metrics is None else metrics.get(_LAG)
    found = [
        *silent(warehouse_dir, bounds.silent_intervals, now()),
        *lag_rising(lag, state.get("lag"), bounds.lag_records),
        *badly_scored(board, bounds.coverage_tolerance, bounds.min_predictions),
    ]
    # "said" is the name in files of earlier versions.
    sent: dict[str, float] = state.get("said", {})
    due, over = changes(found, sent, bounds.repeat_after_s, now())
    url = webhook or Secrets().alert_webhook_url
    delivered = True
    for text in [alert.text for alert in due] + [f"over: {name}" for name in over]:
        event(log, "alert", level=logging.WARNING, text=text)
        delivered = (url is None or send(text, url, bounds)) and delivered
    if delivered:
        kept = {alert.name: sent.get(alert.name, now()) for alert in found}
        sent = {**kept, **{alert.name: now() for alert in due}}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"lag": lag, "said": sent}))
    return found


def silent(warehouse_dir: Path, bars: int, now_s: float) -> list[Alert]:
    """No live prediction for so many bars."""
    newest = read_sql(warehouse_dir, _NEWEST_LIVE).itertuples(index=False)
    return [
        Alert(f"silent {timeframe}", f"no {timeframe} prediction for {now_s - at_s:.0f} s")
        for timeframe, at_s, bar_s in newest
        if now_s - at_s > (bars + 1) * bar_s
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
    found: list[Alert], sent: dict[str, float], repeat_after_s: float, now_s: float
) -> tuple[list[Alert], list[str]]:
    """What to send now: alerts that are new or due again, names of those that are over."""
    due = [a for a in found if now_s - sent.get(a.name, -repeat_after_s) >= repeat_after_s]
    names = {alert.name for alert in found}
    return due, [name for name in sent if name not in names]


def send(text: str, url: SecretStr, bounds: Alerts) -> bool:
    """Send one message; whether it was taken. The URL is a secret, and appears in no log line."""
    import apprise

    logging.getLogger("apprise").disabled = True  # it writes URLs
    receivers = apprise.Apprise()
    known = receivers.add(apprise_url(url.get_secret_value(), bounds))
    taken = bool(receivers.notify(f"Candlecast: {text}")) if known else False
    if not taken:
        reason = "not taken" if known else "ALERT_WEBHOOK_URL is no URL that Apprise knows"
        event(log, "alert_undelivered", level=logging.WARNING, reason=reason)
    return taken


def apprise_url(url: str, bounds: Alerts) -> str:
    """The receiver as Apprise names it; a plain web address takes JSON in the form of `bounds`.

    >>> apprise_url("mailto://me:secret@example.com", Alerts())
    'mailto://me:secret@example.com'
    >>> apprise_url("https://example.com/hook", Alerts())[:38]
    'jsons://example.com/hook?:message=text'
    """
    import apprise

    scheme, _, address = url.partition("://")
    if scheme not in ("http", "https") or apprise.Apprise.instantiate(url) is not None:
        return url
    form = f":message={_TEXT[bounds.form]}{_LEFT_OUT}"
    if bounds.form == "telegram":
        form += f"&:chat_id={quote(bounds.telegram_chat_id)}"
    return f"json{scheme[4:]}://{address}{'&' if '?' in address else '?'}{form}"
