"""`candlecast ingest`: bars from a source to the topic `bars`, until told to stop."""

import logging
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from conf.errors import ConfigurationError
from conf.settings import Settings, load_settings
from ingest.clock import SystemClock
from ingest.publish import BarPublisher, ensure_topics
from ingest.replay import between, in_close_order, paced
from ingest.sources.recorded import Recording, read_bars

log = logging.getLogger(__name__)


def ingest(
    source: Annotated[str | None, typer.Option(help="cryptocompare, recorded")] = None,
    interval: Annotated[str, typer.Option(help="1m, 5m, 15m, 1h or 1d")] = "1m",
    file: Annotated[list[str] | None, typer.Option(help="recorded: SYMBOL=PATH, repeated")] = None,
    speed: Annotated[str, typer.Option(help="recorded: 'max', or times real time")] = "max",
    from_: Annotated[str | None, typer.Option("--from", help="recorded: first time, ISO")] = None,
    until: Annotated[str | None, typer.Option(help="recorded: end, exclusive, ISO")] = None,
) -> None:
    """Publish closed bars to Kafka, each acknowledged."""
    settings = load_settings()
    stopping = stop_on_signals()
    if (source or settings.ingest.source) == "recorded":
        recordings = [recording(text, interval) for text in file or []]
        replay(settings, recordings, speed, epoch_ms(from_), epoch_ms(until), stopping)


def replay(
    settings: Settings,
    recordings: list[Recording],
    speed: str,
    first_ms: int | None,
    until_ms: int | None,
    stopping: threading.Event,
) -> int:
    """Publish recorded bars and return how many."""
    kafka = settings.kafka
    if not recordings:
        raise ConfigurationError("--source recorded needs at least one --file SYMBOL=PATH")
    ensure_topics(kafka.bootstrap_servers, {kafka.bars_topic: 4, kafka.rejected_topic: 4})
    series = [
        between(read_bars(item.path, item.symbol, item.interval), first_ms, until_ms)
        for item in recordings
    ]
    bars = in_close_order(series)
    with BarPublisher(kafka.bootstrap_servers, kafka.bars_topic, stopping=stopping) as publisher:
        if speed == "max":
            published = publisher.publish(bars)
        else:
            published = 0
            for group in paced(bars, float(speed), SystemClock(stopping)):
                if stopping.is_set():
                    break
                published += publisher.publish(group)
    log.info("event=replayed files=%d bars=%d", len(recordings), published)
    return published


def recording(text: str, interval: str) -> Recording:
    """Read `SYMBOL=PATH`.

    >>> recording("BTC-USD=bars.csv.gz", "1m").symbol
    'BTC-USD'
    """
    symbol, separator, path = text.partition("=")
    if not separator:
        raise ConfigurationError(f"--file {text!r} must look like SYMBOL=PATH")
    return Recording(Path(path), symbol, interval)


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


def stop_on_signals() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
