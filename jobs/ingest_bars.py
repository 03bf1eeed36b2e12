"""`candlecast ingest`: bars from a source to the topic `bars`, until told to stop."""

import logging
import threading
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from prometheus_client import start_http_server
from pydantic import ValidationError

from conf.errors import BrokerUnavailable, ConfigurationError
from conf.settings import Ingest, Kafka, Secrets, load_settings
from ingest.budget import RateBudget
from ingest.clock import Clock, SystemClock
from ingest.feed import Series
from ingest.live import Live, bar_feeds, check_source, problems
from ingest.metrics import IngestMetrics
from ingest.news import NewsFeed
from ingest.plan import check_budget, plan_series
from ingest.publish import check_broker
from ingest.sources import Source, SourceOptions, open_news, open_source
from ingest.sources.synthetic import synthetic_symbols
from jobs.ingest_replay import epoch_ms, replay
from jobs.terminal.logs import configure_logging
from jobs.terminal.progress import backfill_bar
from jobs.terminal.stopping import stop_on_signals

log = logging.getLogger(__name__)

DAY_S = 86_400.0


def ingest(
    source: Annotated[
        str | None,
        typer.Option(
            help="cryptocompare, coindesk, exchange:NAME (as exchange:binance), recorded,"
            " synthetic[:SEED]"
        ),
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(help="BTC-USD,ETH-USD ...; for synthetic also how many")
    ] = None,
    interval: Annotated[
        str | None, typer.Option(help="1m, 5m, 15m, 1h, 1d; several: 1m,1d")
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
    stopping = stop_on_signals()
    given = {
        "source": source,
        "symbols": _listed(symbols),
        "intervals": _listed(interval),
        "every_s": every,
        "news_every_s": news,
        "metrics_port": metrics_port,
    }
    asked = overridden(settings.ingest, given)
    if asked.source == "recorded" or until is not None:
        replay(
            asked, settings.kafka, file or [], speed, from_, until, again=again, stopping=stopping
        )
    elif check:
        raise typer.Exit(report_check(asked, settings.kafka))
    else:
        delay_s = settings.sentiment.delay_s
        live(asked, settings.kafka, epoch_ms(from_), stopping, delay_s, once=once)


def live(
    asked: Ingest,
    kafka: Kafka,
    since_ms: int | None,
    stopping: threading.Event,
    news_delay_s: float,
    *,
    once: bool = False,
) -> None:
    """Fill what is missing on the topic, then poll until `stopping` is set, or `once`."""
    clock = SystemClock(stopping)
    metrics = IngestMetrics()
    options = source_options(asked, clock, metrics)
    source, series = planned(asked, options)
    now_ms = clock.now_ms()
    feeds = bar_feeds(
        series,
        source,
        now_ms=now_ms,
        since_ms=since_ms,
        backfill_bars=asked.backfill_bars,
        overlap_bars=asked.overlap_bars,
        bars_topic=kafka.bars_topic,
        rejected_topic=kafka.rejected_topic,
    )
    news = news_feeds(asked, kafka, options, news_delay_s)
    serve_metrics(asked.metrics_port, metrics)
    program = Live(
        kafka,
        clock=clock,
        stopping=stopping,
        bars_topic=kafka.bars_topic,
        news_topic=kafka.news_topic,
    )
    try:
        missing = program.resume(feeds, news, *topics_of(kafka, news))
    except BrokerUnavailable as error:
        log.error("event=stopped reason=%r", str(error))
        return
    limits: dict[str, int] = dict(asked.calls_per.items()) if source.metered else {}
    with backfill_bar("backfill", missing) as report:
        program.poll(
            [*feeds, *news],
            budget=RateBudget(limits, now_ms),
            metrics=metrics,
            workers=asked.workers,
            attempts=asked.attempts,
            once=once,
            report=report,
        )
    log.info("event=stopped")


def topics_of(kafka: Kafka, news: Sequence[NewsFeed]) -> tuple[dict[str, int], float | None]:
    """The topics that are created where they are missing, and how long they keep records (s)."""
    names = [kafka.bars_topic, kafka.rejected_topic, *([kafka.news_topic] if news else [])]
    retention_s = kafka.retention_days * DAY_S if kafka.retention_days else None
    return dict.fromkeys(names, kafka.partitions), retention_s


def serve_metrics(port: int, metrics: IngestMetrics) -> None:
    """Let Prometheus ask on `port`, unless it is 0; raises ConfigurationError where it is taken."""
    if not port:
        return
    try:
        start_http_server(port, registry=metrics.registry)
    except OSError as error:
        raise ConfigurationError(f"ingest.metrics_port = {port} can't be used: {error}") from error


def planned(asked: Ingest, options: SourceOptions) -> tuple[Source, list[Series]]:
    """The source and its series; raises ConfigurationError for settings that make no sense."""
    source = open_source(asked.source, options)
    series = plan_series(
        source,
        symbols=asked.symbols,
        timeframes=asked.intervals,
        intervals_of=asked.intervals_of,
        every_s=asked.every_s,
        grace_s=dict(asked.grace_s.items()),
    )
    if source.metered:
        check_budget(series, dict(asked.calls_per.items()))
    return source, series


def source_options(asked: Ingest, clock: Clock, metrics: IngestMetrics) -> SourceOptions:
    """What a source needs; the key comes from the environment."""
    key = Secrets().cryptocompare_api_key
    return SourceOptions(
        clock=clock,
        api_key=key.get_secret_value() if key else None,
        base_url=asked.base_url,
        timeout_s=asked.timeout_s,
        count_call=metrics.calls.inc,
    )


def news_feeds(
    asked: Ingest, kafka: Kafka, options: SourceOptions, delay_s: float
) -> list[NewsFeed]:
    """The news of the source that bars come from, where they are asked for."""
    if not asked.news_every_s:
        return []
    source = open_news(asked.source, options)
    period_ms, delay_ms = asked.news_every_s * 1000, int(delay_s * 1000)
    return [NewsFeed(source, topic=kafka.news_topic, period_ms=period_ms, delay_ms=delay_ms)]


def report_check(asked: Ingest, kafka: Kafka) -> int:
    """Ask source and broker once, print what is wrong, and return the exit code."""
    clock = SystemClock()
    source, series = planned(asked, source_options(asked, clock, IngestMetrics()))
    lines, code = problems(
        lambda: check_broker(kafka, kafka.bars_topic),
        lambda: check_source(source, series[0], clock.now_ms()),
    )
    for line in lines:
        typer.echo(line)
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
        lines = [
            f"ingest.{'.'.join(str(part) for part in e['loc'])}: {e['msg']} (found {e['input']!r})"
            for e in error.errors()
        ]
        raise ConfigurationError("; ".join(lines)) from error


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
