"""What every open page shares: one reader of the topics and one of the tables."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from conf.errors import ArtifactMismatch
from conf.settings import Settings
from dashboard.newest import NewestMessages
from dashboard.records import Row
from dashboard.tables import MAX_PREDICTIONS, Series, Tables
from model.artifact import read_manifest
from model.decisions import decisions
from model.registry import Registry
from store.schema import PREDICTIONS, TIME, TIMES_MS


@dataclass(frozen=True)
class Sources:
    """Where the page and the API read from; nothing here can change anything."""

    warehouse_dir: Path
    tables: Tables
    newest: NewestMessages
    registry: Registry
    metrics_url: str
    fee_bp: float

    @classmethod
    def open(cls, settings: Settings) -> "Sources":
        """Start the reader of the topics."""
        kafka, stream, folder = settings.kafka, settings.stream, settings.warehouse.folder
        return cls(
            folder,
            Tables(folder),
            NewestMessages(kafka, kafka.predictions_topic, kafka.rejected_topic).start(),
            Registry.of(settings.registry),
            f"http://{stream.metrics_host}:{stream.metrics_port}/metrics",
            settings.market.fee_bp,
        )

    def close(self) -> None:
        """End the reader of the topics."""
        self.newest.stop()

    def series(self) -> list[Series]:
        """Every series that has bars or predictions."""
        return sorted(self.tables.series().keys() | self.newest.series())

    def horizons(self, timeframe: str) -> tuple[int, ...]:
        """How many bars ahead the champion of a timeframe predicts; () where there is none."""
        with suppress(ArtifactMismatch):
            if version := self.registry.champion(timeframe):
                return read_manifest(self.registry.folder(version)).horizons
        return ()

    def predictions(
        self,
        symbol: str,
        timeframe: str,
        since_ms: int,
        bars: int = 1,
        until_ms: int = TIMES_MS[1],
        most: int = MAX_PREDICTIONS,
    ) -> pd.DataFrame:
        """Predictions of the tables and, where newer, of the topic; a row each, ascending.

        Made from bars that closed in `since_ms..until_ms` (epoch ms); the newest `most`. `bars` as
        `Tables.series_of` takes it.
        """
        stored = self.tables.predictions(symbol, timeframe, since_ms, bars, until_ms, most)
        fresh = as_frame(self.newest.predictions(symbol, timeframe), list(stored.columns))
        after = pd.Timestamp(0) if stored.empty else stored["as_of"].max()
        fresh = fresh[fresh["as_of"] >= max(after, pd.Timestamp(since_ms, unit="ms"))]
        fresh = fresh[fresh["as_of"] <= pd.Timestamp(until_ms, unit="ms")]
        if fresh.empty:
            return stored
        both = fresh if stored.empty else pd.concat([stored, fresh], ignore_index=True)
        once = both.drop_duplicates(list(PREDICTIONS.identity))
        return once.sort_values(["as_of", "horizon"]).tail(most)

    def decisions(self) -> list[dict[str, Any]]:
        """Every decision about a champion, newest first."""
        return decisions(self.warehouse_dir / "promotions")[::-1]


def as_frame(rows: list[Row], columns: list[str]) -> pd.DataFrame:
    """Messages of the topic with the columns of the table; times become UTC without a zone."""
    frame = pd.DataFrame(rows, columns=columns)
    for name in columns:
        if PREDICTIONS.columns[name] == TIME:
            times = pd.to_datetime(frame[name].astype("Int64"), unit="ms")
            frame[name] = times.astype("datetime64[us]")
    return frame
