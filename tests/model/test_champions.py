"""Which model serves, and which does not."""

import shutil
from pathlib import Path

import pytest

from model.artifact import read_manifest, save_artifact
from model.champions import Champions
from model.registry import Registry
from tests.artifacts import save_random_artifact


@pytest.fixture
def registry(registry: Registry, tmp_path: Path) -> Registry:
    """Two versions of the 1m model; the second has taken the place of the first."""
    for seed in (1, 2):
        save_random_artifact(tmp_path / f"seed{seed}", seed)
        registry.promote(registry.register(tmp_path / f"seed{seed}", "1m"))
    return registry


def serving(champions: Champions) -> dict[str, str]:
    return {name: model.artifact.version for name, model in champions.current().items()}


def tamper(registry: Registry, version: str) -> None:
    onnx = registry.folder(version) / "model.onnx"
    content = onnx.read_bytes()
    onnx.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_the_champion_serves(registry: Registry) -> None:
    assert serving(Champions(registry, ("1m", "1h"), lookback=60)) == {"1m": "1m-2"}


def test_a_champion_tampered_with_is_rejected_once_and_its_predecessor_serves(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    tamper(registry, "1m-2")
    champions = Champions(registry, ("1m",), lookback=60)
    assert serving(champions) == serving(champions) == {"1m": "1m-1"}
    lines = [line for line in caplog.messages if "event=model_rejected model=1m-2" in line]
    assert len(lines) == 1


def test_a_champion_of_another_lookback_does_not_serve(registry: Registry) -> None:
    assert serving(Champions(registry, ("1m",), lookback=30)) == {}


def test_a_champion_whose_graph_is_none_is_rejected(registry: Registry, tmp_path: Path) -> None:
    source = registry.folder("1m-2")
    files = {"model.onnx": b"not a graph", "model.keras": (source / "model.keras").read_bytes()}
    save_artifact(tmp_path / "broken", read_manifest(source), files)
    registry.promote(registry.register(tmp_path / "broken", "1m"))
    assert serving(Champions(registry, ("1m",), lookback=60)) == {"1m": "1m-2"}


def test_interval_factors_reach_a_model_that_serves_already(registry: Registry) -> None:
    champions = Champions(registry, ("1m",), lookback=60)
    assert champions.current()["1m"].interval_factors is None
    registry.set_interval_factors("1m-2", (1.5, 1.0, 1.0))
    assert champions.current()["1m"].interval_factors == (1.5, 1.0, 1.0)


def promote_reader_of_news(registry: Registry, folder: Path) -> None:
    save_random_artifact(folder, seed=3, reads_news=True)
    registry.promote(registry.register(folder, "1m"))


def test_for_a_champion_that_reads_news_the_newest_that_does_not_is_ready(
    registry: Registry, tmp_path: Path
) -> None:
    save_random_artifact(tmp_path / "never served", seed=4)
    registry.register(tmp_path / "never served", "1m")
    promote_reader_of_news(registry, tmp_path / "news")
    model = Champions(registry, ("1m",), lookback=60).current()["1m"]
    silent = model.serving(news_known=False)
    assert model.serving(news_known=True) == model
    assert silent is not None
    assert (model.artifact.version, silent.artifact.version) == ("1m-4", "1m-2")


def test_a_champion_that_reads_no_news_serves_without_them_itself(registry: Registry) -> None:
    model = Champions(registry, ("1m",), lookback=60).current()["1m"]
    assert model.serving(news_known=False) == model.serving(news_known=True) == model


def test_without_a_version_that_reads_no_news_nothing_serves_in_their_silence(
    mlflow_database: Path, tmp_path: Path
) -> None:
    shutil.copy(mlflow_database, tmp_path / "other.db")
    registry = Registry(f"sqlite:///{tmp_path}/other.db", tmp_path / "models")
    promote_reader_of_news(registry, tmp_path / "news")
    model = Champions(registry, ("1m",), lookback=60).current()["1m"]
    assert model.serving(news_known=True) == model
    assert model.serving(news_known=False) is None


def test_the_fallback_goes_when_its_champion_does(registry: Registry, tmp_path: Path) -> None:
    promote_reader_of_news(registry, tmp_path / "news")
    champions = Champions(registry, ("1m",), lookback=60)
    assert champions.current()["1m"].without_news is not None
    registry.restore("1m-1")
    assert champions.current()["1m"].without_news is None
