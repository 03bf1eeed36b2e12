"""What ingest tells Prometheus."""

from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

NAMESPACE: Final = "candlecast_ingest"
CLOSE_BUCKETS_S: Final = (0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 30, 60, 120)


class IngestMetrics:
    """Counters and gauges of one run, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace=NAMESPACE, registry=self.registry)
        gauge = partial(Gauge, namespace=NAMESPACE, registry=self.registry)
        # by what a feed's records are called
        self.published = {
            "bars": counter("bars_published", "Bars acknowledged by Kafka"),
            "articles": counter("articles_published", "Articles acknowledged"),
        }
        self.revised = counter(
            "bars_revised", "Bars published again, since the source changed them"
        )
        self.rejected = counter(
            "rejected", "Bars and articles that break a rule", ["kind", "reason"]
        )
        self.calls = counter("api_calls", "Calls of the source")
        self.errors = counter("errors", "Failures by kind", ["kind"])
        self.cuts = counter("answers_cut", "Answers that were cut short, and asked on")
        self.gave_up = counter("gave_up", "Questions left to the next poll, after all attempts")
        self.clock_steps = counter("clock_steps", "Times that the wall clock was set")
        self.left_out = gauge("series_left_out", "Series that the source does not offer now")
        self.gaps = gauge("gaps_open", "Bars known to be missing between others")
        self.behind_s = gauge(
            "seconds_behind",
            "Seconds since the close of the newest bar of the symbol that is furthest behind",
        )
        self.budget = gauge("rate_budget_left", "Calls that may be made at once", ["window"])
        self.closed_to_acknowledged = Histogram(
            "closed_to_acknowledged_seconds",
            "From a bar's close to its acknowledgement by Kafka, of bars that came at their time",
            ["source", "by"],
            namespace=NAMESPACE,
            registry=self.registry,
            buckets=CLOSE_BUCKETS_S,
        )
        self.live_connections = gauge("live_connections", "Websockets that tell candles")
        self.live_away_s = gauge(
            "live_away_seconds", "Since when the websocket that is away longest tells nothing"
        )
        self.live_cuts = counter("live_cuts", "Websockets that were cut, or told nothing")
        self.live_resubscribed = counter("live_resubscribed", "Websockets that were made anew")
        self.live_filled = counter("live_filled", "Bars by a poll that no websocket had told")
        self.live_differences = counter(
            "live_differences", "Bars that a poll found otherwise than they were published"
        )
        self.poll_s = gauge("poll_seconds", "Duration of the last poll")
