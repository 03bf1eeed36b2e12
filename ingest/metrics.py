"""What ingest tells Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class IngestMetrics:
    """Counters and gauges of one run, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        prefix = "candlecast_ingest"
        self.published = Counter(
            f"{prefix}_bars_published", "Bars acknowledged by Kafka", registry=self.registry
        )
        self.revised = Counter(
            f"{prefix}_bars_revised",
            "Bars published again, since the source changed them",
            registry=self.registry,
        )
        self.rejected = Counter(
            f"{prefix}_rejected",
            "Bars and articles that break a rule",
            ["kind", "reason"],
            registry=self.registry,
        )
        self.articles = Counter(
            f"{prefix}_articles_published", "Articles acknowledged", registry=self.registry
        )
        self.gaps = Gauge(
            f"{prefix}_gaps_open",
            "Bars known to be missing between others",
            registry=self.registry,
        )
        self.behind_s = Gauge(
            f"{prefix}_seconds_behind",
            "Seconds since the close of the newest bar of the symbol that is furthest behind",
            registry=self.registry,
        )
        self.calls = Counter(f"{prefix}_api_calls", "Calls of the source", registry=self.registry)
        self.errors = Counter(
            f"{prefix}_errors", "Failures by kind", ["kind"], registry=self.registry
        )
        self.budget = Gauge(
            f"{prefix}_rate_budget_left",
            "Calls that may be made at once",
            ["window"],
            registry=self.registry,
        )
        self.poll_s = Gauge(
            f"{prefix}_poll_seconds", "Duration of the last poll", registry=self.registry
        )
