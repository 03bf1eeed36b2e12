"""What ingest tells Prometheus."""

from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

NAMESPACE: Final = "candlecast_ingest"


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
        self.poll_s = gauge("poll_seconds", "Duration of the last poll")
