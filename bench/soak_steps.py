"""The steps of `bench.soak`, each run in a process of its own: `python -m bench.soak_steps STEP`.

A step prints what it measured as its last line, JSON. The settings come from the environment.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from bench.series import symbols
from bench.warehouse import DAY_MS, MINUTE_MS, Market, Recorder, publish
from conf.settings import Settings, load_settings
from jobs.machine.processes import candlecast
from jobs.scoring.look import score_once
from model.baselines import Arima
from model.forecast import Forecaster
from model.registry import Registry

Measured = dict[str, Any]
# Enough for a model that predicts, and no more: nothing here measures how well it does.
TRAINING_DAYS: Final = 1
SMALL_MODEL: Final = {
    "CANDLECAST_TRAINING__MAX_EPOCHS": "1",
    "CANDLECAST_TRAINING__MEMBERS": "2",
    "CANDLECAST_TRAINING__UNITS": "4",
}
# The newest minutes, written after the last compaction: `candlecast run` compacts once an hour.
NEWEST_MINUTES: Final = 60
LIVE_DAYS: Final = 1
# Looks of `score` that are measured, each after a minute's new rows.
LOOKS: Final = 3


def lay(days: int, count: int) -> Measured:
    """A warehouse of so many days up to now, and the next minutes beside it in `next`.

    The days but the last lie in a folder a day; the last one and the minutes since, in a folder a
    minute, go through compaction; the newest ones come after it.
    """
    settings, now_ms = load_settings(), int(datetime.now(UTC).timestamp() * 1000)
    midnight_ms = now_ms // DAY_MS * DAY_MS
    folder = settings.warehouse.folder
    market = Market(symbols(count), midnight_ms - days * DAY_MS)
    recorder = Recorder(folder, market)
    recorder.lay_days(TRAINING_DAYS)
    run("train", "--allow-unproven")
    registry = Registry.of(settings.registry)
    recorder.forecaster = Forecaster(registry.load(str(registry.champion("1m"))))
    recorder.lay_days(days - TRAINING_DAYS - LIVE_DAYS)
    begun_s = time.monotonic()
    minutes = (now_ms - midnight_ms + LIVE_DAYS * DAY_MS) // MINUTE_MS - LOOKS
    recorder.lay_minutes(minutes - NEWEST_MINUTES)
    live_s = time.monotonic() - begun_s
    begun_s = time.monotonic()
    run("compact")
    compacted_s = time.monotonic() - begun_s
    recorder.lay_minutes(NEWEST_MINUTES)
    for number in range(LOOKS):
        recorder.lay_minutes(1, next_minute(settings, number))
    return {"live_s": live_s, "compacted_s": compacted_s}


def run(name: str, *arguments: str) -> None:
    """Run a command of candlecast to its end; raises RuntimeError where it fails."""
    log = load_settings().warehouse.folder.parent / "logs" / f"{name}.log"
    program = candlecast(name, arguments, SMALL_MODEL, log)
    with program:
        while program.running:
            time.sleep(0.1)
    if program.exit_code:
        raise RuntimeError(f"candlecast {name}: {program.last_words()}; see {log}")


def next_minute(settings: Settings, number: int) -> Path:
    """Where the rows of a minute wait that no reader has seen yet."""
    return settings.warehouse.folder.parent / "next" / str(number)


def catch_up() -> Measured:
    """The looks of `score` that bring all up to date, as those of the days before would have.

    One fit of ARIMA stands for all: a month of a hundred symbols has 3,000, of half a second each.
    """
    with one_fit():
        score_once(load_settings())
    return {}


@contextmanager
def one_fit() -> Iterator[None]:
    """ARIMA's first fit is taken for every series and day."""
    fit = Arima.fit
    known: list[Arima] = []

    def first(closes: NDArray[np.float64]) -> Arima:
        if not known:
            known.append(fit(closes))
        return known[0]

    with patch.object(Arima, "fit", first):
        yield


def looks() -> Measured:
    """A scorer that is started anew, then a look after each minute's rows: the dearest counts."""
    settings, cpu_s, wall_s = load_settings(), [], []
    score_once(settings)
    for number in range(LOOKS):
        publish(next_minute(settings, number), settings.warehouse.folder)
        begun = time.process_time(), time.monotonic()
        score_once(settings)
        cpu_s.append(time.process_time() - begun[0])
        wall_s.append(time.monotonic() - begun[1])
    return {"look_cpu_s": max(cpu_s), "look_s": max(wall_s)}


def page(count: int) -> Measured:
    """What the first visitor of the page waits for: series, candles, scores and drift.

    Predictions come through the API, which is asked by itself.
    """
    from dashboard.tables import Tables

    settings, symbol = load_settings(), symbols(count)[0]
    begun_s = time.monotonic()
    tables = Tables(settings.warehouse.folder)
    newest = tables.series()[symbol, "1m"]
    hours = 12  # the page's own choice of a range
    since, bars = newest - hours * 60 * MINUTE_MS, hours * 60
    candles = tables.series_of("bars", symbol, "1m", since, bars)
    scores, drift = tables.scores(), tables.drift()
    took_s = time.monotonic() - begun_s
    if candles.empty or scores is None or scores.empty or drift.empty:
        raise RuntimeError("the page would be empty")
    return {"tables_s": took_s}


STEPS: Final[dict[str, Callable[..., Measured]]] = {
    "lay": lay,
    "catch_up": catch_up,
    "looks": looks,
    "page": page,
}


def main() -> None:
    """Run the step named on the command line with its whole numbers."""
    name, *numbers = sys.argv[1:]
    found = STEPS[name](*map(int, numbers))
    sys.stdout.flush()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
