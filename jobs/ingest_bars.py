"""`candlecast ingest`: bars from a source to the topic `bars`, until told to stop."""

import logging
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Annotated, Any

import typer
from prometheus_client import start_http_server
from pydantic import ValidationError

from conf.errors import (
    BrokerUnavailable,
    CandlecastError,
    ConfigurationError,
    RetryLater,
    SourceUnavailable,
)
from conf.events import event
from conf.ports import listening
from conf.sections import Ingest, Kafka
from conf.settings import Settings, load_settings, wrong_settings
from conf.timeframes import TIMEFRAME_MS
from ingest.bar_feed import BarFeed
from ingest.budget import RateBudget
from ingest.check import check_source
from ingest.clock import Clock, until_answered
from ingest.cursor import resume
from ingest.live import Live, LiveFeed
from ingest.metrics import IngestMetrics
from ingest.news import NewsFeed
from ingest.plan import as_named, bar_feeds, plan_series
from ingest.poll import Poller
from ingest.publish import Publisher
from ingest.sources import SOURCES, NewsSource, Source, SourceOptions, open_source
from ingest.sources.synthetic import synthetic_symbols
from ingest.topics import check_broker
from jobs.ingest_replay import epoch_ms, replay
from jobs.terminal.logs import configure_logging
from jobs.terminal.progress import backfill_bar
from jobs.terminal.stopping import stop_on_signals

log = logging.getLogger(__name__)


def ingest(
    source: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(SOURCES)}, recorded; as exchange:binance, synthetic:SEED"),
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(help="BTC-USD,ETH-USD ...; for synthetic also how many")
    ] = None,
    interval: Annotated[
        str | None, typer.Option(help=f"{', '.join(TIMEFRAME_MS)}; several: 1m,1d")
    ] = None,
    live: Annotated[
        str | None, typer.Option(help="websocket: as the exchange closes them; poll")
    ] = None,
    every: Annotated[int | None, typer.Option(help="seconds between two polls of a series")] = None,
    news: Annotated[
        int | None, typer.Option(help="seconds between two polls of news; 0: no news")
    ] = None,
    file: Annotated[list[str] | None, typer.Option(help="recorded: SYMBOL=PATH, repeated")] = None,
    speed: Annotated[str, typer.Option(help="replay: 'max', or times real time")] = "max",
    from_: Annotated[str | None, typer.Option("--from", help="first time, ISO, UTC")] = None,
    until: Annotated[str | None, typer.Option(help="replay: end, exclusive, ISO, UTC")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="replay: what is there already too")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="fill what is missing, then end")] = False,
    check: Annotated[bool, typer.Option("--check", help="ask source and broker once")] = False,
    metrics_port: Annotated[int | None, typer.Option(help="for Prometheus; 0: none")] = None,
) -> None:
    """Publish closed bars to Kafka, each acknowledged; Ctrl-C ends it, nothing is lost by it."""
    settings = load_settings()
    configure_logging()
    clock = Clock(stop_on_signals())
    given = {
        "source": source,
        "symbols": listed(symbols),
        "intervals": listed(interval),
        "live": live,
        "every_s": every,
        "news_every_s": news,
        "metrics_port": metrics_port,
    }
    asked = overridden(settings.ingest, given)
    first_ms, until_ms = epoch_ms(from_), epoch_ms(until)
    try:
        if asked.source == "recorded" or until_ms is not None:
            span = (first_ms, until_ms)
            replay(asked, settings.kafka, file or [], speed, span, clock, again=again)
        elif check:
            raise typer.Exit(report_check(asked, settings.kafka))
        else:
            publish_live(asked, settings, first_ms, clock, once=once)
    except BrokerUnavailable as error:
        if not clock.stopping.is_set():
            raise
        event(log, "stopped", level=logging.ERROR, reason=error)


def publish_live(
    asked: Ingest, settings: Settings, since_ms: int | None, clock: Clock, *, once: bool
) -> None:
    """Fill what is missing on the topic, then poll until the clock is stopping, or `once`.

    Raises BrokerUnavailable on a stop while the broker is away, and SourceUnavailable where `once`
    left something unanswered.
    """
    metrics, kafka = IngestMetrics(), settings.kafka
    source = opened(asked, clock)
    asked = until_answered(
        partial(as_named, source, asked),
        clock,
        RetryLater,
        "source_unavailable",
        attempts=asked.attempts if once else None,
    )
    now_ms = clock.now_ms()
    listens = asked.live == "websocket" and not once
    bars = bar_feeds(source, asked, kafka, now_ms, since_ms, LiveFeed if listens else BarFeed)
    # Their followers wait for them.
    bars.sort(key=lambda feed: feed.series.symbol not in settings.market.names)
    news = []
    if asked.news_every_s:
        period_ms, delay_ms = asked.news_every_s * 1000, int(settings.sentiment.delay_s * 1000)
        if not isinstance(source, NewsSource):
            raise ConfigurationError(f"ingest.news_every_s: {source.name} lists no news")
        news = [NewsFeed(source, kafka, period_ms=period_ms, delay_ms=delay_ms)]
    serve_metrics(asked.metrics_host, asked.metrics_port, metrics)
    missing = resume(bars, news, kafka, clock, asked.earliest_ms)
    budget = RateBudget(asked.calls_per if source.metered else {}, clock.monotonic_ms())
    heard = Live(source, bars, clock, metrics)
    with (
        closing(heard),
        closing(Publisher(kafka, stopping=clock.stopping)) as publisher,
        backfill_bar("backfill", missing) as report,
    ):
        poller = Poller(
            [*bars, *news],
            publisher,
            asked,
            clock=clock,
            budget=budget,
            metrics=metrics,
            report=report,
            live=heard if listens else None,
        )
        poller.run(clock.now_ms() if once else None)
    event(log, "stopped")
    if once and poller.unanswered and not clock.stopping.is_set():
        said = "; ".join(f"{name}: {reason}" for name, reason in poller.unanswered.items())
        raise SourceUnavailable(f"not everything was answered, start again later ({said:.2000})")


def opened(asked: Ingest, clock: Clock) -> Source:
    """The source that is asked for."""
    options = SourceOptions(clock=clock, base_url=asked.base_url, timeout_s=asked.timeout_s)
    return open_source(asked.source, options)


def serve_metrics(host: str, port: int, metrics: IngestMetrics) -> None:
    """Let Prometheus ask, unless `port` is 0; raises MissingPrerequisite where it is taken."""
    if port:
        with listening(host, port, "ingest.metrics_port"):
            start_http_server(port, host, metrics.registry)


def report_check(asked: Ingest, kafka: Kafka) -> int:
    """Ask broker and source once, print what is wrong, and return the exit code."""
    clock = Clock()
    source = opened(asked, clock)
    code = 0
    checks: list[Callable[[], str]] = [
        lambda: check_broker(kafka, kafka.bars_topic),
        lambda: check_source(
            source, plan_series(source, as_named(source, asked))[0], asked, clock.now_ms()
        ),
    ]
    for check in checks:
        try:
            typer.echo(f"ok      {check()}")
        except CandlecastError as error:
            typer.echo(f"problem {type(error).__name__}: {error}")
            code = code or error.exit_code
    return code


def overridden(settings: Ingest, given: dict[str, Any]) -> Ingest:
    """The settings with what was given on the command line instead.

    Raises ConfigurationError naming the setting that makes no sense.
    """
    values = {**settings.model_dump(), **{k: v for k, v in given.items() if v is not None}}
    if given.get("symbols"):
        count = given["symbols"][0]
        if values["source"].startswith("synthetic") and count.isdigit():
            values["symbols"] = synthetic_symbols(int(count))
        kept = {k: v for k, v in values["intervals_of"].items() if k in values["symbols"]}
        values["intervals_of"] = {} if given.get("intervals") else kept
    try:
        return Ingest.model_validate(values)
    except ValidationError as error:
        raise wrong_settings(error, "ingest") from error


def listed(text: str | None) -> list[str] | None:
    """What stands between commas; None where nothing was said."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
