"""The replaying half of `candlecast ingest`: recorded files, and the synthetic market as a file."""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from conf.errors import ConfigurationError
from conf.events import event
from conf.sections import Ingest, Kafka
from ingest.bar import Bar
from ingest.clock import Clock
from ingest.cursor import bars_since, without_known
from ingest.plan import check_symbols, named_series
from ingest.publish import BarPublisher, Record, rejection_record
from ingest.replay import between, in_close_order, paced, publish_replay
from ingest.sources import SourceOptions
from ingest.sources.recorded import Recording, read_bars
from ingest.sources.synthetic import Synthetic
from ingest.topics import ensure_topics
from jobs.terminal.progress import backfill_bar

log = logging.getLogger(__name__)

Reject = Callable[[Bar, str], None]
Span = tuple[int | None, int | None]  # first and end, exclusive, epoch ms; None leaves it open


def replay(
    asked: Ingest,
    kafka: Kafka,
    files: Sequence[str],
    speed: str,
    span: Span,
    clock: Clock,
    *,
    again: bool,
) -> None:
    """Publish bars of the past, in the order of their closes.

    Bars that are on the topic already are left out, so a replay that was killed goes on where it
    was, unless `again`. Raises ConfigurationError and BrokerUnavailable.
    """
    pace = speed_of(speed)
    rejected: list[Record] = []

    def reject(bar: Bar, reason: str) -> None:
        now_ms = clock.now_ms()
        rejected.append(rejection_record(kafka.rejected_topic, bar, reason, now_ms))

    if asked.source == "recorded":
        series = recorded_series(files, asked, span, reject)
    else:
        series = synthetic_series(asked, span)
    topics = dict.fromkeys((kafka.bars_topic, kafka.rejected_topic), kafka.partitions)
    ensure_topics(kafka, topics, retention_s=kafka.retention_s)
    bars: Iterable[Bar] = in_close_order(series)
    if not again:
        bars = without_known(bars, bars_since(kafka, kafka.bars_topic, 0, asked.earliest_ms))
    with (
        BarPublisher(kafka, kafka.bars_topic, stopping=clock.stopping) as publisher,
        backfill_bar("replay", None) as report,
    ):
        groups = paced(bars, pace, clock)
        published, rejections = publish_replay(groups, publisher, rejected, clock, report)
    event(log, "replayed", series=len(series), bars=published, rejected=rejections)


def recorded_series(
    files: Sequence[str], asked: Ingest, span: Span, reject: Reject
) -> list[Iterable[Bar]]:
    """The bars of each file, given as SYMBOL=PATH, all of one timeframe."""
    if not files:
        raise ConfigurationError("--source recorded needs at least one --file SYMBOL=PATH")
    if len(asked.intervals) != 1:
        raise ConfigurationError("--source recorded takes one --interval, that of its files")
    recordings = [recording(text, asked.intervals[0]) for text in files]
    check_symbols([one.symbol for one in recordings])
    read = partial(read_bars, on_rejected=reject, earliest_ms=asked.earliest_ms)
    return [between(read(one.path, one.symbol, one.interval), *span) for one in recordings]


def synthetic_series(asked: Ingest, span: Span) -> list[Iterable[Bar]]:
    """Each symbol's made-up bars at each of its timeframes."""
    kind, _, seed = asked.source.partition(":")
    first_ms, until_ms = span
    if kind != "synthetic":
        raise ConfigurationError(f"--until is for recorded and synthetic bars, not {asked.source}")
    if first_ms is None or until_ms is None or first_ms >= until_ms:
        raise ConfigurationError("a synthetic replay needs --from and a later --until")
    market = Synthetic(SourceOptions(clock=Clock(), argument=seed))
    return [
        market.stream(symbol, timeframe, first_ms, until_ms)
        for symbol, timeframe in named_series(asked)
    ]


def recording(text: str, timeframe: str) -> Recording:
    """Read `SYMBOL=PATH`.

    >>> recording("BTC-USD=bars.csv.gz", "1m").symbol
    'BTC-USD'
    """
    symbol, separator, path = text.partition("=")
    if not separator or not path:
        raise ConfigurationError(f"--file {text!r} must look like SYMBOL=PATH")
    return Recording(Path(path), symbol, timeframe)


def speed_of(text: str) -> float | None:
    """`max` is None; otherwise how many times as fast as it happened.

    >>> speed_of("60"), speed_of("max")
    (60.0, None)
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ConfigurationError(f"--speed {text!r} must be 'max' or a number above 0")
    return speed


def epoch_ms(text: str | None) -> int | None:
    """ISO time to epoch milliseconds; without a zone it is UTC.

    >>> epoch_ms("2017-12-26")
    1514246400000
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no ISO time such as 2017-12-26T00:00") from error
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
