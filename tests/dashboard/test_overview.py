"""What stands on the cards, over small warehouses without a broker."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conf.sections import Kafka
from dashboard.newest import NewestMessages
from dashboard.overview import Overview
from dashboard.record import read_history
from dashboard.running import troubles
from dashboard.site import read_chart
from dashboard.sources import Sources
from dashboard.tables import Tables
from jobs.scoring.scoreboard import update_scores
from model.intervals import QUANTILES
from model.registry import Registry
from model.size import LEAST_OF_A_WEEK
from store.views import read_sql
from tests import tables

CLOSE = tables.random_walk(300, seed=1)
FEE_BP = 10.0
SINCE = int(tables.START.timestamp() * 1000)


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    folder = tmp_path / "warehouse"
    tables.write(folder, "bars", tables.bars(CLOSE))
    for horizon in (1, 5):
        rows = tables.predictions(CLOSE, tables.guesses(CLOSE, seed=horizon), horizon)
        tables.write(folder, "predictions", rows, f"q-{horizon}")
    return folder


@pytest.fixture
def look(warehouse: Path) -> Callable[[], Overview]:
    """An overview that has looked once, of the same sources each time."""
    newest = NewestMessages(Kafka(), "predictions", "bars.rejected")
    registry = Registry(f"sqlite:///{warehouse}/none.db", warehouse)
    overview = Overview(Sources(warehouse, Tables(warehouse), newest, registry, "", FEE_BP))

    def once() -> Overview:
        overview.refresh()
        return overview

    return once


def test_a_card_holds_the_newest_closes_and_the_newest_prediction_at_each_horizon(
    look: Callable[[], Overview],
) -> None:
    (card,) = look().cards()
    assert card.closes == pytest.approx(CLOSE[-60:])
    assert [ahead.horizon for ahead in card.ahead] == [1, 5]
    assert [ahead.last_close for ahead in card.ahead] == pytest.approx([CLOSE[-1]] * 2)


def test_bars_that_come_later_are_on_the_card_at_the_next_look(
    warehouse: Path, look: Callable[[], Overview]
) -> None:
    look()
    more = tables.bars([500.0], start=tables.START + 300 * tables.MINUTE)
    tables.write(warehouse, "bars", more, "q-9")
    (card,) = look().cards()
    assert card.closes[-1] == 500.0
    assert len(card.closes) == 60


def test_a_series_that_comes_later_gets_a_card(
    warehouse: Path, look: Callable[[], Overview]
) -> None:
    look()
    tables.write(warehouse, "bars", tables.bars(CLOSE[:40], symbol="ETH-USD"), "q-9")
    assert [(c.symbol, len(c.closes)) for c in look().cards()] == [("BTC-USD", 60), ("ETH-USD", 40)]


@pytest.mark.parametrize(("known", "share"), [(LEAST_OF_A_WEEK - 1, None), (LEAST_OF_A_WEEK, 1.0)])
def test_livelier_is_the_share_of_the_weeks_expected_sizes_that_were_smaller(
    warehouse: Path, look: Callable[[], Overview], known: int, share: float | None
) -> None:
    wide = tables.predictions(CLOSE, tables.guesses(CLOSE, seed=3), 15, half_width=0.001)
    wide["scale"] = np.linspace(0.001, 0.002, len(wide))
    tables.write(warehouse, "predictions", wide[-known:], "q-15")
    (card,) = look().cards()
    assert card.ahead[-1].livelier == share


@pytest.mark.parametrize(("share", "verdict"), [(0.5, "better"), (0.0, "early"), (-0.5, "worse")])
def test_a_record_is_coloured_only_where_chance_does_not_explain_it(
    warehouse: Path, look: Callable[[], Overview], share: float, verdict: str
) -> None:
    close = np.asarray(CLOSE)
    noise = 1 + 1e-5 * np.random.default_rng(2).normal(size=len(close))
    later = np.append(close[15:], [close[-1]] * 15)
    made = (close + share * (later - close)) * noise
    rows = tables.predictions(CLOSE, [float(x) for x in made], horizon=15)
    tables.write(warehouse, "predictions", rows, "q-15")
    update_scores(warehouse)
    record = look().cards()[0].ahead[2].record
    assert record is not None
    assert record.verdict == verdict


def test_the_history_of_a_series_adds_up_to_sql(warehouse: Path) -> None:
    history = read_history(Tables(warehouse), "BTC-USD", "1m", 1, SINCE, FEE_BP)
    ((count, inside),) = read_sql(
        warehouse, "SELECT count(*), avg(covered::INT) FROM scored WHERE horizon = 1"
    ).to_numpy()
    assert history.whole is not None
    assert history.whole.predictions == sum(b.predictions for b in history.buckets) == count
    assert history.whole.inside == pytest.approx(inside)
    one = history.whole
    assert one.below + one.inside + one.above == pytest.approx(1)
    assert len(history.buckets) <= 25


def test_a_history_shows_between_which_quantiles_prices_fell(warehouse: Path) -> None:
    assert read_history(Tables(warehouse), "BTC-USD", "1m", 1, SINCE, FEE_BP).pit is None
    rows = tables.predictions(CLOSE, CLOSE, 15)
    for place, name in enumerate(QUANTILES):
        rows[name] = rows["last_close"] * np.exp(0.002 * (place - 3))
    tables.write(warehouse, "predictions", rows, "q-15")
    found = read_history(Tables(warehouse), "BTC-USD", "1m", 15, SINCE, FEE_BP).pit
    moved = np.log(np.array(CLOSE[15:]) / CLOSE[:-15]) / 0.002
    expected = np.histogram(moved, [-np.inf, *range(-3, 4), np.inf])[0] / len(moved)
    assert found == pytest.approx(expected.tolist())


def test_a_skill_comes_with_the_error_that_its_test_knows(warehouse: Path) -> None:
    close = np.asarray(CLOSE)
    right = close[:-15] + 0.5 * (close[15:] - close[:-15])
    rows = tables.predictions(CLOSE, [float(x) for x in right], 15)
    tables.write(warehouse, "predictions", rows, "q-15")
    history = read_history(Tables(warehouse), "BTC-USD", "1m", 15, SINCE, FEE_BP)
    assert history.verdict == "better"
    assert history.whole is not None
    assert history.whole.skill == pytest.approx(0.75, abs=0.01)
    assert history.whole.skill_low is not None
    assert 0 < history.whole.skill_low < 0.75


def test_acting_on_what_is_right_would_have_paid_more_than_a_fee_that_is_small(
    warehouse: Path,
) -> None:
    close = np.asarray(CLOSE)
    rows = tables.predictions(CLOSE, [float(x) for x in close[15:]], 15)
    tables.write(warehouse, "predictions", rows, "q-15")
    small, usual = (
        read_history(Tables(warehouse), "BTC-USD", "1m", 15, SINCE, fee).paid for fee in (0.1, 1e4)
    )
    assert small is not None
    assert usual is not None
    assert small.low_bp is not None
    assert small.low_bp > 0.1
    assert small.sentence.endswith("it would have paid")
    assert (usual.fee_bp, usual.sentence.rpartition(": ")[2]) == (1e4, "it would not have paid")


def test_live_predictions_alone_make_a_record_where_there_are_any(warehouse: Path) -> None:
    assert not read_history(Tables(warehouse), "BTC-USD", "1m", 1, SINCE, FEE_BP).backfilled
    close = CLOSE[:200]
    late = tables.predictions(close, close, 15, predicted_after=timedelta(days=1))
    tables.write(warehouse, "predictions", late, "late")
    history = read_history(Tables(warehouse), "BTC-USD", "1m", 15, SINCE, FEE_BP)
    assert history.backfilled
    assert history.whole is not None
    assert history.whole.predictions == 200


def test_a_prediction_stands_at_the_candle_whose_close_it_forecast(tmp_path: Path) -> None:
    close = tables.random_walk(4_000, seed=4)
    tables.write(tmp_path, "bars", tables.bars(close))
    tables.write(tmp_path, "predictions", tables.predictions(close[:-5], close[5:], horizon=5))
    newest = NewestMessages(Kafka(), "predictions", "bars.rejected")
    registry = Registry(f"sqlite:///{tmp_path}/none.db", tmp_path)
    sources = Sources(tmp_path, Tables(tmp_path), newest, registry, "", FEE_BP)
    chart = read_chart(sources, "BTC-USD", "1m", 5, hours=50, since=0)
    assert chart.step_ms == 2 * chart.bar_ms
    closes = dict(zip(chart.candles["time"], chart.candles["close"], strict=True))
    made = zip(chart.predicted["target_time"], chart.predicted["predicted_close"], strict=True)
    slots = [(float(target or 0) - chart.step_ms, price) for target, price in made]
    shown = [(closes[slot], price) for slot, price in slots if slot in closes]
    assert len(shown) > 1_400
    assert all(actual == pytest.approx(price) for actual, price in shown)


def test_before_anything_is_revealed_it_is_too_early_to_tell(tmp_path: Path) -> None:
    history = read_history(Tables(tmp_path), "BTC-USD", "1m", 1, 0, FEE_BP)
    assert (history.verdict, history.whole, history.buckets) == ("early", None, [])


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"broker": "no broker"}, "broker"),
        ({"stream_answers": False}, "stream"),
        ({"lag_records": 5_000.0}, "stream"),
        ({"last_bar_age_s": 3_600.0}, "source"),
        ({"champions": {}}, "model"),
    ],
)
def test_what_stands_still_is_named_with_its_remedy(
    warehouse: Path, changed: dict[str, object], part: str
) -> None:
    from dashboard.health import read_health

    newest = NewestMessages(Kafka(), "predictions", "bars.rejected")
    registry = Registry(f"sqlite:///{warehouse}/none.db", warehouse)
    sources = Sources(
        warehouse, Tables(warehouse), newest, registry, "http://127.0.0.1:9/metrics", FEE_BP
    )
    well = {"broker": "connected", "stream_answers": True, "champions": {"1m": "1m-1"}}
    health = read_health(sources).model_copy(update={**well, "last_bar_age_s": 3.0})
    assert [t.part for t in troubles(sources, health, "here:9092") if t.part != "disk"] == []
    found = troubles(sources, health.model_copy(update=changed), "here:9092")
    assert found[0].part == part
    assert found[0].remedy


def test_a_week_without_predictions_says_nothing_of_liveliness(tmp_path: Path) -> None:
    tables.write(tmp_path, "bars", tables.bars(CLOSE))
    newest = NewestMessages(Kafka(), "predictions", "bars.rejected")
    registry = Registry(f"sqlite:///{tmp_path}/none.db", tmp_path)
    overview = Overview(Sources(tmp_path, Tables(tmp_path), newest, registry, "", FEE_BP))
    overview.refresh()
    (card,) = overview.cards()
    assert card.ahead == []
    assert pd.Timestamp(card.times[-1], unit="ms") == tables.START + 299 * tables.MINUTE
