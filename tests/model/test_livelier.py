"""Whether it is said rightly that what comes is livelier than usual."""

import numpy as np

from model.livelier import said_rightly
from model.outcomes import Outcomes
from model.series import Series, on_grid

HORIZON, COUNT = 15, 3_000
# Calm and lively half hours in turn.
SIZE = 0.001 * np.exp(1.5 * np.sin(np.arange(COUNT) / 10))


def market() -> Series:
    close = 100 * np.exp(np.cumsum(SIZE * np.random.default_rng(4).normal(size=COUNT)))
    bars = np.stack([close] * 4 + [np.ones(COUNT)] * 2, axis=1)
    return on_grid("A-B", "1m", range(0, 60_000 * COUNT, 60_000), bars)


def told(series: Series, sizes: np.ndarray, trailing: np.ndarray) -> Outcomes:
    ends = np.arange(60, COUNT - HORIZON)
    ones = np.ones((len(ends), 2))
    return Outcomes.of_windows(
        "A-B", series.close_times(ends), (HORIZON,), ones, {}, sizes[ends], trailing[ends]
    )


def test_who_knows_the_size_to_come_says_it_more_often_rightly() -> None:
    series = market()
    ahead = np.roll(np.convolve(SIZE, np.ones(HORIZON) / HORIZON)[:COUNT], -HORIZON)
    here = told(series, ahead, SIZE)
    found = said_rightly(series, here, 0)
    assert found["lstm"] > found["trailing"] + 0.1
    assert found["lstm"] > 0.9


def test_what_lies_before_says_what_is_usual_and_is_not_counted() -> None:
    series = market()
    late = series.close_times(np.array([2_000]))[0]
    whole = told(series, SIZE, SIZE)
    with_past = said_rightly(series, whole, late)
    without = said_rightly(series, whole.chosen(whole.time >= late), late)
    assert with_past["lstm"] == with_past["trailing"] != without["lstm"]


def test_of_a_short_past_nothing_is_said() -> None:
    series = market()
    few = told(series, SIZE, SIZE).chosen(np.arange(COUNT - HORIZON - 60) < 90)
    assert np.isnan(list(said_rightly(series, few, 0).values())).all()
