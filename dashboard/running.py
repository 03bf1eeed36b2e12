"""Is it running? What stands still, why as far as it can be told, and what to do about it."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from conf.timeframes import TIMEFRAME_MS
from dashboard.api_types import HealthAnswer, Trouble
from dashboard.sources import Sources

# A look of `candlecast score --every 60` takes seconds; this long without one and it stands still.
SCORED_WITHIN_S: Final = 900.0
LAG_RECORDS: Final = 1_000
FREE_SHARE: Final = 0.05
BROKER: Final = {
    "connecting": ("Looking for the broker at {servers}.", "It takes a moment."),
    "no broker": (
        "No broker answers at {servers}: what is shown comes from the tables.",
        "`make demo` starts one with everything else; for another, set "
        "`CANDLECAST_KAFKA__BOOTSTRAP_SERVERS`.",
    ),
    "no topic": (
        "The broker at {servers} has no topic of predictions.",
        "The stream makes it when it starts: `spark-submit jobs/predict_stream.py`.",
    ),
    "reader failed": (
        "The reader of the topics has failed: what is shown comes from the tables.",
        "It starts again by itself; the page's log has the fault, please report it.",
    ),
}


def troubles(sources: Sources, health: HealthAnswer, servers: str) -> list[Trouble]:
    """What does not run, the first cause first; nothing where all is well."""
    return [*_broker(health, servers), *_stream(health), *_rest(sources, health)]


def _broker(health: HealthAnswer, servers: str) -> Iterator[Trouble]:
    if health.broker in BROKER:
        text, remedy = BROKER[health.broker]
        yield Trouble(part="broker", text=text.format(servers=servers), remedy=remedy)


def _stream(health: HealthAnswer) -> Iterator[Trouble]:
    if not health.stream_answers:
        yield Trouble(
            part="stream",
            text="The stream does not answer: nothing new is predicted.",
            remedy="`spark-submit jobs/predict_stream.py`, or `candlecast run` for all programs; "
            "why it ended is the last line of reports/logs/stream.log.",
        )
    elif (health.lag_records or 0) > LAG_RECORDS:
        yield Trouble(
            part="stream",
            text=f"The stream is {health.lag_records:,.0f} bars behind.",
            remedy="After a backfill it catches up by itself; else docs/scale.md.",
        )


def _rest(sources: Sources, health: HealthAnswer) -> Iterator[Trouble]:
    known = sources.tables.series()
    if not known:
        yield Trouble(
            part="source",
            text="There are no bars yet.",
            remedy="`make demo` shows the whole path with recorded bars; `candlecast ingest` "
            "publishes live ones, and the stream archives them.",
        )
    else:
        shortest = min(TIMEFRAME_MS[timeframe] for _, timeframe in known) / 1000
        silent = health.last_bar_age_s
        if silent is not None and silent > 3 * shortest + 60:
            yield Trouble(
                part="source",
                text=f"No bar has come for {silent / 60:,.0f} minutes.",
                remedy="`candlecast ingest --check` asks the source once and says what it answers.",
            )
        if health.stream_answers and not health.champions:
            yield Trouble(
                part="model",
                text="No model serves: bars are archived, nothing is predicted.",
                remedy="`candlecast train` trains one; the gate puts it in service if it is better "
                "than the last price, and says why if not (below: Models).",
            )
    scored = sources.tables.written_at("scores")
    if scored is not None and time.time() - scored > SCORED_WITHIN_S:
        yield Trouble(
            part="scorer",
            text=f"Nothing has been scored for {(time.time() - scored) / 60:,.0f} minutes.",
            remedy="`candlecast score --every 60`, or `candlecast run` for all programs.",
        )
    if left := sources.tables.left_aside():
        path, reason = next(iter(left.items()))
        yield Trouble(
            part="warehouse",
            text=f"{len(left)} files can't be read and are left aside: {path} ({reason}).",
            remedy="Remove them, or restore them from a backup.",
        )
    yield from _disk(sources.warehouse_dir)


def _disk(folder: Path) -> Iterator[Trouble]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return
    if usage.free < FREE_SHARE * usage.total:
        yield Trouble(
            part="disk",
            text=f"The disk of {folder} is {1 - usage.free / usage.total:.0%} full: "
            f"{usage.free / 1e9:,.1f} GB are left.",
            remedy="Set `compaction.keep_days`, or make room.",
        )


def ago(seconds: float | None) -> str:
    """How long ago, in the unit that fits.

    >>> ago(None), ago(3.2), ago(200), ago(400_000)
    ('none yet', '3 s ago', '3 min ago', '5 d ago')
    """
    if seconds is None:
        return "none yet"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
