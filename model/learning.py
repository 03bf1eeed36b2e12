"""From bars to a registered model that was put to the gate.

`train` makes one model, `retrain` challengers from scratch and from the champion's weights.
"""

import logging
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from conf.errors import ArtifactMismatch
from conf.events import event
from model.artifact import KERAS_FILE, ONNX_FILE, Manifest, save_artifact
from model.dataset import Span, covered, embargo_bars, newest_share
from model.decisions import Arena, Decision, decide_and_record
from model.layout import Layout
from model.lstm import EpochDone, load_keras
from model.outcomes import LSTM, Metrics
from model.registry import Registry
from model.report import held_back_outcomes, write_report
from model.series import Series, newest_bars
from model.training import ModelSettings, TrainedModel, fit_model
from model.validate import held_out_metrics

log = logging.getLogger(__name__)

ALONE: Final = Layout()


@dataclass(frozen=True)
class TrainResult:
    """A registered model, how it did on the bars held back, and what the gate said.

    `metrics` are those of "lstm" and "persistence" at each horizon.
    """

    version: str
    decision: Decision
    part: Span
    held_back: Span
    metrics: dict[int, dict[str, Metrics]]
    model: TrainedModel

    @property
    def promoted(self) -> bool:
        """Whether it is the champion now."""
        return self.decision.verdict.promoted

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        return self.decision.verdict.reason


def train(
    series: Sequence[Series],
    settings: ModelSettings,
    arena: Arena,
    reading: Layout = ALONE,
    on_epoch: EpochDone | None = None,
) -> TrainResult:
    """Train on all but the last `test_share` of the time, register, and put to the gate there.

    The newest `max_bars` count. `reading` is one of `readings`.
    """
    series = newest_bars(series, settings.training.max_bars)
    part, held_back = hold_back(series, settings)
    trained = fit_model(_as_read(series, reading), part, settings, on_epoch=on_epoch)
    return compete(trained, series, part, held_back, arena)


def retrain(
    series: Sequence[Series], settings: ModelSettings, arena: Arena, read_news: bool = False
) -> Iterator[TrainResult]:
    """Train challengers from scratch and from the champion's weights, and put each to the gate.

    The newest `max_bars` count. There is one of each for each of `readings`. All are trained on the
    bars before those held back; the champion changes at most once for each that passes.
    """
    series = newest_bars(series, settings.training.max_bars)
    part, held_back = hold_back(series, settings)
    for trained in _challengers(series, part, settings, arena.registry, read_news):
        result = compete(trained, series, part, held_back, arena)
        event(log, "challenger", model=result.version, reason=result.reason)
        yield result


def compete(
    trained: TrainedModel, series: Sequence[Series], part: Span, held_back: Span, arena: Arena
) -> TrainResult:
    """Register a model that was trained on `part`, and put it to the gate on `held_back`."""
    metrics = held_out_metrics(trained.artifact("new"), series, held_back)
    with tempfile.TemporaryDirectory() as folder:
        save_trained(Path(folder), trained, metrics)
        version = arena.registry.register(Path(folder), series[0].interval)
    decision = decide_and_record(arena, version, series, held_back)
    version = arena.registry.canonical(version)
    return TrainResult(version, decision, part, held_back, metrics, trained)


def report(
    result: TrainResult,
    series: Sequence[Series],
    registry: Registry,
    reports_dir: Path,
    adapt_rate: float,
    fee_bp: float,
) -> Path:
    """Write the model's page and keep its figures with the registered version; returns the page."""
    artifact = registry.load(result.version)
    shown = held_back_outcomes(artifact, series, result.part, result.held_back)
    folder = reports_dir / result.version
    page = write_report(
        folder, artifact, result.model.history, shown, result.reason, adapt_rate, fee_bp
    )
    known = {k: v for k, v in artifact.manifest.metrics.items() if v is not None}
    registry.attach(result.version, folder, known)
    return page


def hold_back(series: Sequence[Series], settings: ModelSettings) -> tuple[Span, Span]:
    """The part to train on and the part held back, with the embargo between them."""
    start, end = min(s.first_open_time for s in series), max(s.end_time for s in series)
    border = newest_share(covered(series, Span(start, end)), settings.training.test_share)
    embargo = embargo_bars(settings.lookback, settings.horizons)
    return Span(start, border - embargo * series[0].bar_ms), Span(border, end)


def save_trained(
    folder: Path, trained: TrainedModel, metrics: dict[int, dict[str, Metrics]]
) -> None:
    """Write an artifact with its metrics on the bars held back in the manifest."""
    flat = {f"{k}_{h}": float(v) for h, of in metrics.items() for k, v in asdict(of[LSTM]).items()}
    known = {name: None if math.isnan(value) else value for name, value in flat.items()}
    manifest = trained.manifest.model_copy(update={"metrics": known})
    save_artifact(folder, manifest, {ONNX_FILE: trained.onnx, KERAS_FILE: trained.keras()})


def _challengers(
    series: Sequence[Series],
    part: Span,
    settings: ModelSettings,
    registry: Registry,
    read_news: bool,
) -> list[TrainedModel]:
    """From scratch, and from the champion's weights where it is of the same make."""
    inputs = [_as_read(series, reading) for reading in readings(series, read_news)]
    scratch = [fit_model(read, part, settings) for read in inputs]
    champion = registry.champion(series[0].interval)
    if champion is None:
        return scratch
    try:
        before = registry.load(champion).manifest
        weights = load_keras((registry.folder(champion) / KERAS_FILE).read_bytes())
    except ArtifactMismatch as error:
        event(log, "not_continued", level=logging.WARNING, champion=champion, reason=error)
        return scratch
    continued = [
        _seen_until(fit_model(read, part, settings, start=weights), before.trained_until)
        for read, made in zip(inputs, scratch, strict=True)
        if made.weights.shapes == weights.shapes and _make(made.manifest) == _make(before)
    ]
    return [*scratch, *continued]


def readings(series: Sequence[Series], read_news: bool) -> list[Layout]:
    """What models to train on these series may read: the bars alone, since the others need a
    substitute; their leaders as well, where there are bars of some; and with `read_news` all that
    is there.

    >>> from model.planted import planted_series
    >>> readings([planted_series(seed=1, effect=0.1, n_bars=9)], read_news=True)
    [Layout(news=False, leaders=0), Layout(news=True, leaders=0)]
    """
    layout = series[0].layout
    led = any(any(one.leaders) and not np.isnan(one.needed_close).all() for one in series)
    if layout.leaders and not led:
        event(log, "no_bars_of_leaders", level=logging.WARNING, effect="trained without")
    leaders = layout.leaders if led else 0
    found = [ALONE, Layout(leaders=leaders), Layout(layout.news and read_news, leaders)]
    return list(dict.fromkeys(found))


def _as_read(series: Sequence[Series], reading: Layout) -> list[Series]:
    return [one.reading(reading.news, reading.leaders > 0) for one in series]


def _make(manifest: Manifest) -> tuple[object, ...]:
    return manifest.feature_names, manifest.leaders, manifest.horizons, manifest.lookback


def _seen_until(trained: TrainedModel, time_ms: int) -> TrainedModel:
    """Bars before `time_ms` shaped the weights that this model began with: it has seen them."""
    until = max(time_ms, trained.manifest.trained_until)
    return replace(trained, manifest=trained.manifest.model_copy(update={"trained_until": until}))
