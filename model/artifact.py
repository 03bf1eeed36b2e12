"""A trained model as a folder: weights to train on, a graph to serve, a manifest that vouches.

```
FOLDER/model.keras      for training on
       model.onnx       for serving
       manifest.json    what they were trained on, and the sha256 of each
```
Nothing here is a pickle, and nothing runs code on load.
"""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conf.errors import ArtifactMismatch
from model.features import NEWS_FEATURE_NAMES, Input, input_named, unknown_features

MANIFEST_FILE: Final = "manifest.json"
ONNX_FILE: Final = "model.onnx"
KERAS_FILE: Final = "model.keras"
_LIBRARIES: Final = ("numpy", "keras", "tensorflow", "tensorflow-cpu", "onnx", "onnxruntime")


class Manifest(BaseModel):
    """What a model is, what it was trained on, and how it did there.

    `trained_from`, `validated_from`, `trained_until` are epoch ms UTC; the last is exclusive and is
    the end of everything that fitting saw. `half_widths` are those of the conformal intervals that
    cover `coverages`, of the first horizon, then of the next, in units of the size expected of the
    move, calibrated on what lies between the last two. `coverages` is empty where there is but the
    interval of `coverage`, in units of `volatility * sqrt(horizon)`, as in a model without a scale.
    `leaders` are those of each symbol as in `Market.of`; none of any where the model reads none.
    `symbol_gain` is how much more or less of the graph's output counts for a symbol, per horizon; 1
    for others. `usual_volatility` is that of one bar's log return, of each symbol.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    interval: str
    symbols: tuple[str, ...]
    feature_names: tuple[str, ...]
    leaders: dict[str, tuple[str | None, ...]] = {}
    lookback: int = Field(gt=0)
    horizons: tuple[int, ...] = Field(min_length=1)
    scaling: str = "volatility of log returns over the later half of the window"
    trained_from: int
    validated_from: int
    trained_until: int
    coverage: float = Field(gt=0, lt=1)
    coverages: tuple[float, ...] = ()
    half_widths: tuple[float, ...]
    network_gain: tuple[float, ...]
    linear_gain: tuple[float, ...]
    symbol_gain: dict[str, tuple[float, ...]] = {}
    usual_volatility: dict[str, float] = {}
    metrics: dict[str, float | None] = {}
    seed: int = 0
    libraries: dict[str, str] = {}
    sha256: dict[str, str] = {}

    @property
    def calibrated(self) -> tuple[float, ...]:
        """What each interval covers, ascending."""
        return self.coverages or (self.coverage,)

    @property
    def n_intervals(self) -> int:
        """How many intervals there are over all horizons, each with a factor of its own."""
        return len(self.horizons) * len(self.calibrated)

    @property
    def reads_news(self) -> bool:
        """Whether the model needs the news of each bar."""
        return any(read.feature.of_news for read in self._inputs)

    @property
    def reads_leaders(self) -> bool:
        """Whether the model needs the bars of the leaders of a series."""
        return any(read.leader for read in self._inputs)

    def leaders_of(self, symbol: str) -> tuple[str | None, ...]:
        """The leaders of a symbol as the model was trained; of one that it does not know, none."""
        width = max((len(names) for names in self.leaders.values()), default=0)
        return self.leaders.get(symbol, (None,) * width)

    @property
    def _inputs(self) -> list[Input]:
        unknown = unknown_features(self.feature_names)
        return [input_named(name) for name in self.feature_names if name not in unknown]


@dataclass(frozen=True)
class Artifact:
    """A model ready to serve; small and picklable by Spark, so that it can travel to a worker."""

    version: str
    manifest: Manifest
    onnx: bytes


def save_artifact(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """Write `files` and the manifest with their hashes and the libraries that made them.

    `files` maps the names `model.onnx` and `model.keras` to their bytes. The manifest goes last: a
    folder without one is unfinished. Returns the manifest as written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    complete = manifest.model_copy(
        update={
            "libraries": _library_versions(),
            "sha256": {
                name: hashlib.sha256(content).hexdigest() for name, content in files.items()
            },
        }
    )
    (folder / MANIFEST_FILE).write_text(complete.model_dump_json(indent=2) + "\n")
    return complete


def load_artifact(folder: Path, version: str) -> Artifact:
    """Read a folder that `save_artifact` wrote, and check it.

    Raises ArtifactMismatch where a file is missing, differs from its hash in the manifest, or the
    model was trained on a feature that this code has not.
    """
    manifest = read_manifest(folder)
    for name in (ONNX_FILE, KERAS_FILE):
        if name not in manifest.sha256:
            raise ArtifactMismatch(f"{version}: {folder / MANIFEST_FILE} holds no hash of {name}")
    for name, expected in manifest.sha256.items():
        found = hashlib.sha256(_read(folder / name, version)).hexdigest()
        if found != expected:
            raise ArtifactMismatch(
                f"{version}: {folder / name} has sha256 {found[:12]}..., the manifest says "
                f"{expected[:12]}...; the file was changed after training"
            )
    check_features(manifest, version)
    return Artifact(version, manifest, _read(folder / ONNX_FILE, version))


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`, without a look at the files that it vouches for.

    Raises ArtifactMismatch where it is missing or is not one.
    """
    text = _read(folder / MANIFEST_FILE, folder.name)
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactMismatch(f"{folder / MANIFEST_FILE} is no manifest: {error}") from error


def check_features(manifest: Manifest, version: str) -> None:
    """Raise ArtifactMismatch where the model was trained on a feature that this code has not."""
    if unknown := unknown_features(manifest.feature_names):
        raise ArtifactMismatch(
            f"{version}: trained on features {', '.join(unknown)}, which this code has not; it has "
            f"{', '.join(NEWS_FEATURE_NAMES)}"
        )


def _read(file: Path, version: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ArtifactMismatch(f"{version}: cannot read {file}: {error.strerror}") from error


def _library_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
