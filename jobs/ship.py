"""Make the models that come with the code: `make shipped`, after a change of features or format.

They are trained as `candlecast train` would, on the first 70 % of the recorded minutes that the
demo replays, one without leaders and one with, and put into `model/shipped`, whose models
`serve_shipped` serves.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from conf.sections import Market
from conf.sections import Registry as RegistrySettings
from conf.settings import Settings, load_settings
from jobs.demo.recordings import BACKFILL, LEADERS, SERIES, Parts, read_all
from jobs.demo.report import series_of
from jobs.terminal.program import run_program
from model.decisions import Arena
from model.leaders import with_leaders
from model.learning import TrainResult, report, train
from model.shipped import SHIPPED_DIR
from model.training import ModelSettings

SHIPPED_FROM: Final = "cccagg"


def make(settings: Settings, folder: Path) -> TrainResult:
    """Train, and write below `folder`: the artifact and report of a timeframe, and the artifact
    that reads leaders. Returns how the first did."""
    bars = read_all(SERIES[SHIPPED_FROM], settings.ingest.earliest_ms)
    market = Market(leaders=[*LEADERS[SHIPPED_FROM]])
    series = with_leaders(series_of(Parts.split(bars, BACKFILL).backfill), market.of)
    model = ModelSettings(settings.window.lookback, settings.training, settings.intervals)
    with tempfile.TemporaryDirectory() as place:
        own = RegistrySettings(
            tracking_uri=f"sqlite:///{place}/mlflow.db", artifact_dir=f"{place}/models"
        )
        here = settings.model_copy(update={"registry": own})
        arena = Arena(Arena.of(here).registry, Path(place) / "promotions", settings.promotion)
        result = train(series, model, arena)
        rate, fee_bp = settings.intervals.adapt_rate, settings.market.fee_bp
        page = report(result, series, arena.registry, Path(place), rate, fee_bp)
        timeframe = series[0].interval
        shutil.rmtree(folder / timeframe, ignore_errors=True)
        shutil.copytree(arena.registry.folder(result.version), folder / timeframe)
        shutil.copyfile(page, folder / f"{timeframe}.html")
        led = train(series, model, arena, series[0].layout)
        shutil.rmtree(folder / f"{timeframe}-led", ignore_errors=True)
        shutil.copytree(arena.registry.folder(led.version), folder / f"{timeframe}-led")
    return result


def main() -> None:
    """Make it, and say how it did on the bars held back."""
    result = make(load_settings(), SHIPPED_DIR)
    print(f"{SHIPPED_DIR}: {result.reason}")


if __name__ == "__main__":
    run_program(main)
