"""A model in service, as it travels to workers and outlives a restart."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from conf.errors import ArtifactMismatch
from model.artifact import ONNX_FILE, Artifact, Manifest


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A champion as it travels with a micro-batch: version and bytes, so no worker reads a file.

    `substitutes` serve where the champion needs news that have fallen silent or bars of leaders
    that are missing, each where its own needs are met, the first before the others. `proven` is
    what the gate found the model to tell better than chance.
    """

    artifact: Artifact
    interval_factors: tuple[float, ...] | None = None
    substitutes: tuple["ServedModel", ...] = ()
    proven: str | None = None

    @property
    def reads_news(self) -> bool:
        """Whether the champion needs the news of each bar."""
        return self.artifact.manifest.reads_news

    @property
    def reads_leaders(self) -> bool:
        """Whether the champion needs the bars of leaders."""
        return self.artifact.manifest.reads_leaders

    def serving(self, with_news: bool, with_leaders: bool) -> "ServedModel | None":
        """The model for bars with their news, or not, and with their leaders', or not; None where
        there is none."""
        for model in (self, *self.substitutes):
            if model.reads_news <= with_news and model.reads_leaders <= with_leaders:
                return model
        return None


Models = Mapping[str, ServedModel]


def models_to_json(models: Models) -> dict[str, Any]:
    """Models by timeframe, with all that it takes to serve them."""
    return {timeframe: _to_json(model) for timeframe, model in models.items()}


def models_from_json(found: Mapping[str, Any]) -> dict[str, ServedModel]:
    """What `models_to_json` was given; raises ArtifactMismatch where it is something else."""
    try:
        return {timeframe: _from_json(model) for timeframe, model in found.items()}
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError) as error:
        raise ArtifactMismatch(f"not a model in service: {error!r}") from error


def sealed(content: Any) -> str:
    """`content` as text that says of itself whether it is whole."""
    text = json.dumps(content)
    return json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "content": text})


def unsealed(text: str) -> Any:
    """What `sealed` was given; raises ArtifactMismatch where a bit of it has changed.

    >>> unsealed(sealed({"1m": 5}))
    {'1m': 5}
    """
    try:
        found = json.loads(text)
        content = str(found["content"])
        if found["sha256"] == hashlib.sha256(content.encode()).hexdigest():
            return json.loads(content)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactMismatch(f"cut short or changed: {error!r}") from error
    raise ArtifactMismatch("changed after it was written: its sha256 differs")


def _to_json(model: ServedModel) -> dict[str, Any]:
    return {
        "version": model.artifact.version,
        "manifest": model.artifact.manifest.model_dump(mode="json"),
        "onnx": base64.b64encode(model.artifact.onnx).decode(),
        "interval_factors": model.interval_factors,
        "substitutes": [_to_json(one) for one in model.substitutes],
        "proven": model.proven,
    }


def _from_json(found: Mapping[str, Any]) -> ServedModel:
    version, onnx = str(found["version"]), base64.b64decode(found["onnx"])
    manifest = Manifest.model_validate(found["manifest"])
    if hashlib.sha256(onnx).hexdigest() != manifest.sha256[ONNX_FILE]:
        raise ArtifactMismatch(f"{version}: the graph is not the one of its manifest")
    factors = found["interval_factors"]
    return ServedModel(
        Artifact(version, manifest, onnx),
        None if factors is None else tuple(factors),
        tuple(_from_json(one) for one in found.get("substitutes", ())),
        found.get("proven"),
    )
