"""A late bar, a bar that is too late, a clock that jumps: what a batch over the same bars says."""

import json
import time
from dataclasses import replace

import pandas as pd

from conf.sections import Registry as RegistrySettings
from ingest.bar import Bar
from stream.state.rings import GAP, LATE, WARMING_UP
from tests.predictions import assert_same_predictions, batch_predictions
from tests.streams import RunningStream

YEAR_MS = 365 * 86_400_000


def shifted(bars: list[Bar], by_ms: int) -> list[Bar]:
    """The same bars at another time."""
    return [
        replace(bar, open_time=bar.open_time + by_ms, fetched_at=bar.fetched_at + by_ms)
        for bar in bars
    ]


def skipped(stream: RunningStream) -> dict[str, int]:
    """Bars without a prediction when they arrived, by reason."""
    counts: dict[str, int] = stream.table("skipped")["reason"].value_counts().to_dict()
    return counts


def test_a_late_bar_completes_the_windows_that_waited_for_it(
    stream: RunningStream, btc: list[Bar], champion_registry: RegistrySettings
) -> None:
    late_bars = stream.settings.window.late_bars
    late, newest = 80, 80 + late_bars
    stream.publish(btc[:late] + btc[late + 1 : newest + 1])
    assert skipped(stream) == {WARMING_UP: 60, GAP: late_bars}
    stream.publish([btc[late]])
    assert_same_predictions(
        stream.table("predictions"), batch_predictions(btc[: newest + 1], champion_registry)
    )


def test_a_bar_that_is_too_late_is_kept_and_predicts_nothing(
    stream: RunningStream, btc: list[Bar], champion_registry: RegistrySettings
) -> None:
    in_time = btc[:20] + btc[21:]
    stream.publish(in_time)
    stream.publish([btc[20]])
    assert skipped(stream)[LATE] == 1
    assert len(stream.table("bars")) == len(btc)
    assert_same_predictions(
        stream.table("predictions"), batch_predictions(in_time, champion_registry)
    )


def test_a_series_whose_clock_jumps_by_years_and_back_predicts_what_a_batch_does(
    stream: RunningStream, btc: list[Bar], champion_registry: RegistrySettings
) -> None:
    ahead = shifted(btc[100:], YEAR_MS)
    stream.publish(btc[:100] + ahead[:70])
    stream.publish(ahead[70:])
    before = stream.table("predictions")
    assert_same_predictions(before, batch_predictions(btc[:100] + ahead, champion_registry))

    stream.publish(btc[100:110])  # the clock is set right again: for the ring they are too late
    assert skipped(stream)[LATE] == 10
    pd.testing.assert_frame_equal(stream.table("predictions"), before)
    assert len(stream.table("bars")) == len(btc) + 10


def test_a_bar_from_a_clock_that_runs_ahead_is_rejected_and_the_series_goes_on(
    stream: RunningStream, btc: list[Bar], champion_registry: RegistrySettings
) -> None:
    ahead_ms = time.time_ns() // 1_000_000 - btc[70].open_time + 3_600_000
    ahead = shifted([btc[70]], ahead_ms // 60_000 * 60_000)
    stream.publish([*btc[:70], *ahead, *btc[70:]])
    rejected = [json.loads(m) for m in stream.topic(stream.settings.kafka.rejected_topic)]
    assert [row["reason"] for row in rejected] == ["the bar must be closed, not in the future"]
    assert_same_predictions(stream.table("predictions"), batch_predictions(btc, champion_registry))
