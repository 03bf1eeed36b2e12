"""A model of random weights: made in milliseconds, and its output depends on every input."""

from pathlib import Path

import numpy as np

from conf.settings import Registry as RegistrySettings
from model.artifact import KERAS_FILE, ONNX_FILE, Manifest, save_artifact
from model.features import FEATURE_NAMES, NEWS_FEATURE_NAMES, sequence_steps
from model.onnx_export import export_onnx
from model.registry import Registry
from model.weights import MemberWeights, NetworkWeights

HORIZONS = (1, 5, 15)


def save_random_artifact(
    folder: Path, seed: int, lookback: int = 60, timeframe: str = "1m", reads_news: bool = False
) -> None:
    names = NEWS_FEATURE_NAMES if reads_news else FEATURE_NAMES
    units, features, horizons, linear_steps = 8, len(names), len(HORIZONS), 3
    noise = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return noise.normal(0, 0.3, shape).astype(np.float32)

    member = MemberWeights(
        kernel=weights(features, 4 * units),
        recurrent=weights(units, 4 * units),
        bias=weights(4 * units),
        head_kernel=weights(units, horizons),
        head_bias=weights(horizons),
    )
    ones = np.ones(horizons, np.float32)
    network = NetworkWeights((member,), weights(linear_steps * features, horizons), ones, ones)
    manifest = Manifest(
        interval=timeframe,
        symbols=("BTC-USD",),
        feature_names=names,
        lookback=lookback,
        horizons=HORIZONS,
        trained_from=0,
        validated_from=0,
        trained_until=0,
        coverage=0.9,
        half_widths=(2.0,) * horizons,
        network_gain=(1.0,) * horizons,
        linear_gain=(1.0,) * horizons,
    )
    files = {ONNX_FILE: export_onnx(network, sequence_steps(lookback)), KERAS_FILE: b"none"}
    save_artifact(folder, manifest, files)


def random_champion(folder: Path) -> RegistrySettings:
    """A registry in `folder` in which 1m-1 is champion: random weights, so every window counts."""
    settings = RegistrySettings(
        tracking_uri=f"sqlite:///{folder}/mlflow.db", artifact_dir=str(folder / "models")
    )
    save_random_artifact(folder / "artifact", seed=1)
    registry = Registry(settings.tracking_uri, settings.artifact_dir)
    registry.promote(registry.register(folder / "artifact", "1m"))
    return settings
