from pathlib import Path

import pytest

from conf.errors import ArtifactMismatch, ConfigurationError
from model.artifact import save_artifact
from model.registry import Registry
from model.training import TrainedModel


@pytest.fixture
def folder(trained: TrainedModel, tmp_path: Path) -> Path:
    files = {"model.onnx": trained.onnx, "model.keras": trained.keras()}
    save_artifact(tmp_path / "model", trained.manifest, files)
    return tmp_path / "model"


def test_a_registry_that_is_not_there_has_no_champion(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "models")
    assert registry.champion("1m") is None
    assert registry.models() == []
    assert list(tmp_path.iterdir()) == []


def test_a_registered_model_is_no_champion_by_itself(registry: Registry, folder: Path) -> None:
    assert registry.register(folder, "1m") == "1m-1"
    assert registry.champion("1m") is None


def test_a_promoted_model_is_the_champion_of_its_interval(registry: Registry, folder: Path) -> None:
    registry.register(folder, "1m")
    second = registry.register(folder, "1m")
    registry.promote(second)
    assert registry.champion("1m") == "1m-2"
    assert registry.champion("5m") is None
    assert [m.version for m in registry.models("1m") if m.is_champion] == ["1m-2"]


def test_an_unproven_champion_says_so_in_its_version(registry: Registry, folder: Path) -> None:
    registry.promote(registry.register(folder, "1m"), unproven=True)
    champion = registry.champion("1m")
    assert champion == "1m-1-unproven"
    assert registry.load(champion).version == "1m-1-unproven"


def test_the_champion_knows_whom_it_replaced(registry: Registry, folder: Path) -> None:
    first, second = registry.register(folder, "1m"), registry.register(folder, "1m")
    registry.promote(first)
    registry.promote(second)
    registry.promote(second)
    assert registry.replaced_by_champion("1m") == first


def test_a_loaded_model_is_the_one_registered(
    registry: Registry, folder: Path, trained: TrainedModel
) -> None:
    artifact = registry.load(registry.register(folder, "1m"))
    assert artifact.version == "1m-1"
    assert artifact.onnx == trained.onnx


def test_a_tampered_model_is_neither_loaded_nor_promoted(registry: Registry, folder: Path) -> None:
    version = registry.register(folder, "1m")
    onnx = registry.folder(version) / "model.onnx"
    onnx.write_bytes(onnx.read_bytes()[:-1] + b"\0")
    with pytest.raises(ArtifactMismatch):
        registry.load(version)
    with pytest.raises(ArtifactMismatch):
        registry.promote(version)


def test_interval_factors_are_kept_with_the_version(registry: Registry, folder: Path) -> None:
    version = registry.register(folder, "1m")
    assert registry.interval_factors(version) is None
    registry.set_interval_factors(version, (1.1, 0.9))
    assert registry.interval_factors(version) == (1.1, 0.9)


@pytest.mark.parametrize("version", ["1m-9", "latest", "2m-1"])
def test_a_version_that_does_not_exist_is_named(registry: Registry, version: str) -> None:
    with pytest.raises(ConfigurationError, match=version):
        registry.load(version)
