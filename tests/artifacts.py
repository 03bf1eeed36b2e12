"""A model of random weights: made in milliseconds, and its output depends on every input."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from conf.sections import Market
from conf.sections import Registry as RegistrySettings
from model.artifact import KERAS_FILE, ONNX_FILE, Manifest, save_artifact
from model.features import feature_names, sequence_steps
from model.layout import Layout
from model.onnx_export import export_onnx
from model.registry import Registry
from model.size import SizeLine, size_kernel
from model.weights import MemberWeights, NetworkWeights

HORIZONS = (1, 5, 15)


def save_random_artifact(
    folder: Path,
    seed: int,
    lookback: int = 60,
    timeframe: str = "1m",
    reads_news: bool = False,
    names: Sequence[str] | None = None,
    horizons: Sequence[int] = HORIZONS,
    leaders: Mapping[str, tuple[str | None, ...]] = MappingProxyType({}),
) -> None:
    width = max((len(of) for of in leaders.values()), default=0)
    names = names or feature_names(Layout(reads_news, width))
    units, n_features, n_horizons, linear_steps = 8, len(names), len(horizons), 3
    noise = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return noise.normal(0, 0.3, shape).astype(np.float32)

    member = MemberWeights(
        recurrent=(
            weights(n_features, 4 * units),
            weights(units, 4 * units),
            weights(4 * units),
        ),
        head_kernel=weights(units, n_horizons),
        head_bias=weights(n_horizons),
    )
    ones = np.ones(n_horizons, np.float32)
    network = NetworkWeights((member,), weights(linear_steps * n_features, n_horizons), ones, ones)
    manifest = Manifest(
        interval=timeframe,
        symbols=("BTC-USD",),
        feature_names=tuple(names),
        leaders=dict(leaders),
        lookback=lookback,
        horizons=tuple(horizons),
        trained_from=0,
        validated_from=0,
        trained_until=0,
        coverage=0.9,
        coverages=(0.5, 0.8, 0.9),
        half_widths=(1.0, 2.0, 3.0) * n_horizons,
        network_gain=(1.0,) * n_horizons,
        linear_gain=(1.0,) * n_horizons,
    )
    n_inputs = len(size_kernel(horizons))
    size = SizeLine(weights(n_inputs, n_horizons) / 10, weights(n_horizons) / 10)
    graph = export_onnx(network, sequence_steps(lookback), size)
    files = {ONNX_FILE: graph, KERAS_FILE: b"none"}
    save_artifact(folder, manifest, files)


def random_champion(
    folder: Path, market: Market | None = None, symbols: Sequence[str] = ()
) -> RegistrySettings:
    """A registry in `folder` in which 1m-1 is champion: random weights, so every window counts.

    With a market it was: 1m-2 is, which reads the leaders of these symbols.
    """
    settings = RegistrySettings(
        tracking_uri=f"sqlite:///{folder}/mlflow.db", artifact_dir=str(folder / "models")
    )
    registry = Registry.of(settings)
    of = [{}] if market is None else [{}, {symbol: market.of(symbol) for symbol in symbols}]
    for seed, leaders in enumerate(of, 1):
        save_random_artifact(folder / f"artifact{seed}", seed, leaders=leaders)
        registry.promote(registry.register(folder / f"artifact{seed}", "1m"))
    return settings
