import json
import pickle
from pathlib import Path

import pytest

from conf.errors import ArtifactMismatch
from model.artifact import load_artifact, save_artifact
from model.training import TrainedModel


@pytest.fixture
def folder(trained: TrainedModel, tmp_path: Path) -> Path:
    files = {"model.onnx": trained.onnx, "model.keras": trained.keras()}
    save_artifact(tmp_path / "model", trained.manifest, files)
    return tmp_path / "model"


def test_an_artifact_is_read_as_it_was_saved(folder: Path, trained: TrainedModel) -> None:
    artifact = load_artifact(folder, "1m-1")
    assert artifact.onnx == trained.onnx
    assert artifact.manifest.horizons == (1, 3)
    assert set(artifact.manifest.sha256) == {"model.onnx", "model.keras"}


@pytest.mark.parametrize("name", ["model.onnx", "model.keras"])
def test_one_changed_byte_is_rejected(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[100] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(ArtifactMismatch, match=f"{name} has sha256"):
        load_artifact(folder, "1m-1")


def test_a_feature_that_this_code_has_not_is_rejected_by_name(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["feature_names"][0] = "moon_phase"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactMismatch, match="trained on features moon_phase, which"):
        load_artifact(folder, "1m-1")


def test_a_manifest_without_a_hash_is_rejected(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]["model.onnx"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactMismatch, match=r"holds no hash of model\.onnx"):
        load_artifact(folder, "1m-1")


def test_a_folder_without_manifest_is_rejected(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtifactMismatch, match="cannot read"):
        load_artifact(folder, "1m-1")


def test_an_artifact_travels_to_a_worker(folder: Path) -> None:
    artifact = load_artifact(folder, "1m-1")
    assert pickle.loads(pickle.dumps(artifact)) == artifact
