from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conf.errors import ArtifactMismatch
from model.artifact import Artifact, load_artifact
from model.features import FEATURE_NAMES, NEWS_FEATURE_NAMES
from model.forecast import Forecaster
from model.training import TrainedModel
from tests.artifacts import save_random_artifact
from tests.synthetic import random_bars


def test_a_forecast_has_a_price_a_window_and_horizon(trained: TrainedModel) -> None:
    forecast = Forecaster(trained.artifact("1m-1")).predict(random_bars(400, 1), np.arange(16, 400))
    assert forecast.last_close.shape == (384,)
    assert forecast.predicted_close.shape == forecast.lower.shape == (384, 2)


def test_the_interval_holds_the_predicted_price(trained: TrainedModel) -> None:
    forecast = Forecaster(trained.artifact("1m-1")).predict(random_bars(400, 1), np.arange(16, 400))
    assert (forecast.lower < forecast.predicted_close).all()
    assert (forecast.predicted_close < forecast.upper).all()


def test_an_interval_factor_widens_its_horizon_only(trained: TrainedModel) -> None:
    bars, ends = random_bars(50, 1), np.array([49])
    plain = Forecaster(trained.artifact("1m-1")).predict(bars, ends)
    wide = Forecaster(trained.artifact("1m-1"), interval_factor=(1.0,) * 3 + (2.0,) * 3).predict(
        bars, ends
    )
    np.testing.assert_array_equal(wide.upper[:, 0], plain.upper[:, 0])
    assert wide.upper[0, 1] > plain.upper[0, 1]
    np.testing.assert_array_equal(wide.predicted_close, plain.predicted_close)


def test_a_window_is_forecast_alike_alone_and_among_others(trained: TrainedModel) -> None:
    bars = random_bars(700, 2)
    forecaster = Forecaster(trained.artifact("1m-1"))
    together = forecaster.predict(bars, np.arange(16, 700))
    alone = forecaster.predict(bars[500:517], np.array([16]))
    np.testing.assert_allclose(alone.predicted_close[0], together.predicted_close[500], rtol=1e-9)


def test_no_window_gives_an_empty_forecast(trained: TrainedModel) -> None:
    forecast = Forecaster(trained.artifact("1m-1")).predict(random_bars(50, 1), np.array([], int))
    assert forecast.predicted_close.shape == (0, 2)


def test_a_graph_that_is_none_is_rejected(trained: TrainedModel) -> None:
    with pytest.raises(ArtifactMismatch, match=r"model.onnx cannot be loaded"):
        Forecaster(replace(trained.artifact("1m-1"), onnx=b"not a graph"))


def test_interval_factors_of_other_horizons_are_rejected(trained: TrainedModel) -> None:
    with pytest.raises(ArtifactMismatch, match="2 horizons"):
        Forecaster(trained.artifact("1m-1"), interval_factor=(1.0,))


def artifact_of(folder: Path, names: tuple[str, ...], horizons: tuple[int, ...]) -> Artifact:
    save_random_artifact(folder, seed=1, names=names, horizons=horizons)
    return load_artifact(folder, "1m-1")


def test_a_model_is_served_with_the_features_and_horizons_that_it_names(tmp_path: Path) -> None:
    bars, ends = random_bars(200, 3), np.array([100, 150])
    names = ("paced_mid", "volume", "log_return")
    found = Forecaster(artifact_of(tmp_path, names, (2, 7))).predict(bars, ends)
    assert found.predicted_close.shape == (2, 2)
    assert np.isfinite(found.predicted_close).all()


def test_the_order_of_the_features_is_the_models_own(tmp_path: Path) -> None:
    bars, ends = random_bars(200, 3), np.array([150])
    one = Forecaster(artifact_of(tmp_path / "a", ("volume", "log_return"), (1,)))
    other = Forecaster(artifact_of(tmp_path / "b", ("log_return", "volume"), (1,)))
    assert one.predict(bars, ends).unit_return != other.predict(bars, ends).unit_return


def test_news_beside_the_bars_change_nothing_for_a_model_that_does_not_read_them(
    trained: TrainedModel,
) -> None:
    bars, forecaster = random_bars(100, 3), Forecaster(trained.artifact("1m-1"))
    with_news = np.concatenate([bars, np.ones((100, 5))], axis=1)
    ends = np.array([50])
    np.testing.assert_array_equal(
        forecaster.predict(bars, ends).predicted_close,
        forecaster.predict(with_news, ends).predicted_close,
    )


def test_a_model_that_reads_one_feature_of_the_news_needs_them(tmp_path: Path) -> None:
    artifact = artifact_of(tmp_path, ("log_return", "news_score"), (1,))
    assert artifact.manifest.reads_news
    with pytest.raises(ArtifactMismatch, match="reads news"):
        Forecaster(artifact).predict(random_bars(100, 3), np.array([80]))


def test_a_graph_of_another_number_of_features_is_rejected(trained: TrainedModel) -> None:
    artifact = trained.artifact("1m-1")
    longer = artifact.manifest.model_copy(update={"feature_names": NEWS_FEATURE_NAMES})
    with pytest.raises(ArtifactMismatch, match=f"takes {len(FEATURE_NAMES)} features"):
        Forecaster(replace(artifact, manifest=longer))


def test_no_window_of_a_named_symbol_gives_an_empty_forecast(trained: TrainedModel) -> None:
    forecaster = Forecaster(trained.artifact("1m-1"))
    assert len(forecaster.predict(random_bars(50, 1), np.array([], int), []).scale) == 0
