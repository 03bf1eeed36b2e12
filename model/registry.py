"""The models there are and which one serves: MLflow's registry, a SQLite file by default.

A model is registered as `candlecast-INTERVAL`; its version here is `INTERVAL-NUMBER`, such as
`1m-3`. The alias `champion` names the one in service. A champion that was never shown to beat
persistence carries `-unproven` behind its version, and so does every prediction it makes.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from conf.errors import ArtifactMismatch, ConfigurationError
from conf.sections import Registry as RegistrySettings
from conf.state_files import sync_file, sync_folder
from conf.timeframes import TIMEFRAME_MS
from model.artifact import MANIFEST_FILE, Artifact, load_artifact
from model.mlflow_client import EXISTS_ALREADY, NOT_FOUND, Client, shown, sqlite_file

CHAMPION: Final = "champion"
_UNPROVEN_SUFFIX: Final = "-unproven"
_VERSION: Final = re.compile(rf"({'|'.join(TIMEFRAME_MS)})-(\d+)({_UNPROVEN_SUFFIX})?")
# Timeframe, and how the sha256 of the manifest begins, which holds those of the files.
_FOLDER: Final = re.compile(rf"({'|'.join(TIMEFRAME_MS)})-[0-9a-f]{{16}}")
_READS_NEWS: Final = "reads_news"
_READS_LEADERS: Final = "reads_leaders"


@dataclass(frozen=True)
class RegisteredModel:
    """A version with what the registry says about it; times are epoch ms UTC."""

    version: str
    interval: str
    is_champion: bool
    registered_at: int
    tags: dict[str, str]

    @property
    def ever_served(self) -> bool:
        """Whether it is or was a champion."""
        return "unproven" in self.tags


class Registry:
    """Registered models and the alias `champion` of each timeframe.

    `tracking_uri` is MLflow's, such as `sqlite:///warehouse/mlflow.db`; artifacts are copied to
    `artifact_dir`, a folder each. Opening one creates nothing: a registry that is not there yet has
    no champion.
    """

    def __init__(self, tracking_uri: str, artifact_dir: str | Path) -> None:
        self._uri = tracking_uri
        self._artifact_dir = Path(artifact_dir)

    @classmethod
    def of(cls, settings: RegistrySettings) -> Self:
        """The one that the settings name."""
        return cls(settings.tracking_uri, settings.artifact_dir)

    def champion(self, timeframe: str) -> str | None:
        """The version in service at `timeframe`, or None. Takes some milliseconds."""
        found = self._find_champion(timeframe)
        return None if found is None else _version_of(timeframe, found)

    def load(self, version: str) -> Artifact:
        """The artifact of `version`, checked.

        Raises ArtifactMismatch where its files are not what they were when registered, and
        ConfigurationError where there is no such version.
        """
        folder = self.folder(version)
        artifact = load_artifact(folder, version)
        if not folder.name.endswith(_manifest_hash(folder)):
            raise ArtifactMismatch(
                f"{version}: {folder / MANIFEST_FILE} is not the manifest that was registered, "
                f"whose sha256 begins with {folder.name.rpartition('-')[2]}"
            )
        return artifact

    def folder(self, version: str) -> Path:
        """Where the artifact of `version` lies.

        Raises ArtifactMismatch where the registry names something else than a folder of its own.
        """
        name = self.tags(version).get("artifact", "")
        if not _FOLDER.fullmatch(name):
            raise ArtifactMismatch(
                f"{version}: the registry says that its artifact is {name!r}; expected is the name "
                f"of a folder in {self._artifact_dir}, such as 1m-0123456789abcdef"
            )
        return self._artifact_dir / name

    def register(self, folder: Path, timeframe: str) -> str:
        """Copy an artifact's folder, register it, and return its version.

        The copy is named by its manifest's hash and is complete before it is registered.
        """
        manifest = load_artifact(folder, folder.name).manifest
        name = f"{timeframe}-{_manifest_hash(folder)}"
        target = self._artifact_dir / name
        if not (target / MANIFEST_FILE).exists():
            staging = self._artifact_dir / f".{name}.{os.getpid()}"
            shutil.copytree(folder, staging, dirs_exist_ok=True)
            for file in staging.iterdir():
                sync_file(file)
            shutil.rmtree(target, ignore_errors=True)
            staging.rename(target)
            sync_folder(self._artifact_dir)
        self._ensure_model(timeframe)
        created = self._client.create_model_version(
            _model_name(timeframe),
            source=str(target.resolve()),
            tags={
                "artifact": name,
                _READS_NEWS: str(manifest.reads_news).lower(),
                _READS_LEADERS: str(manifest.reads_leaders).lower(),
            },
        )
        return f"{timeframe}-{created.version}"

    def promote(self, version: str, unproven: bool = False) -> None:
        """Make `version` the champion of its timeframe, and remember which one it replaced."""
        self.load(version)
        timeframe, number = _parse(version)
        current = self._find_champion(timeframe)
        replaced = "" if current is None else str(current.version)
        if replaced != number:
            self.tag(version, "replaced", replaced)
        self.tag(version, "unproven", str(unproven).lower())
        self._set_champion(version)

    def restore(self, version: str) -> None:
        """Make `version` the champion again, as it was: what it replaced and whether unproven."""
        self.load(version)
        self._set_champion(version)

    def replaced_by_champion(self, timeframe: str) -> str | None:
        """The version that the present champion took the place of, or None."""
        found = self._find_champion(timeframe)
        number = "" if found is None else found.tags.get("replaced", "")
        return self.canonical(f"{timeframe}-{number}") if number else None

    def newest_without(self, timeframe: str, news: bool, leaders: bool) -> str | None:
        """The newest version that was ever in service and reads no news, or no bars of leaders, or
        neither; None where there is none."""
        silent = [_READS_NEWS] * news + [_READS_LEADERS] * leaders
        served = (m for m in self.models(timeframe) if m.ever_served)
        good = (m.version for m in served if not any(m.tags.get(it) == "true" for it in silent))
        return next(good, None)

    def canonical(self, version: str) -> str:
        """The version as predictions carry it, `-unproven` included."""
        return _version_of(_parse(version)[0], self._get(version))

    def models(self, timeframe: str | None = None) -> list[RegisteredModel]:
        """Every version, newest first within a timeframe."""
        if not self.exists:
            return []
        found = []
        for name in [timeframe] if timeframe else TIMEFRAME_MS:
            champion = self._find_champion(name)
            number = None if champion is None else champion.version
            versions = self._client.search_model_versions(f"name = '{_model_name(name)}'")
            for entry in sorted(versions, key=lambda v: -int(v.version)):
                found.append(
                    RegisteredModel(
                        _version_of(name, entry),
                        name,
                        entry.version == number,
                        int(entry.creation_timestamp),
                        dict(entry.tags),
                    )
                )
        return found

    def remove(self, version: str) -> None:
        """Forget a version, with the files that no other one shares and its MLflow run."""
        timeframe, number = _parse(version)
        tags = self.tags(version)
        shared = [m.tags.get("artifact") for m in self.models() if m.version != version]
        if tags.get("artifact") not in [None, *shared]:
            shutil.rmtree(self.folder(version), ignore_errors=True)
        if run_id := tags.get("run_id"):
            shutil.rmtree(self._artifact_dir / "runs" / run_id, ignore_errors=True)
            self._client.delete_run(run_id)
        self._client.delete_model_version(_model_name(timeframe), number)

    def tag(self, version: str, name: str, value: str) -> None:
        """Note something about a version."""
        timeframe, number = _parse(version)
        self._client.set_model_version_tag(_model_name(timeframe), number, name, value)

    def tags(self, version: str) -> dict[str, str]:
        """What was noted about a version."""
        return dict(self._get(version).tags)

    def attach(self, version: str, folder: Path, metrics: Mapping[str, float]) -> None:
        """Keep the files of `folder` and some figures as an MLflow run of `version`."""
        timeframe, _ = _parse(version)
        run_id = self._client.create_run(self._experiment(timeframe), run_name=version).info.run_id
        for name, value in metrics.items():
            self._client.log_metric(run_id, name, value)
        self._client.log_artifacts(run_id, str(folder))
        self._client.set_terminated(run_id)
        self.tag(version, "run_id", run_id)

    def _experiment(self, timeframe: str) -> str:
        name = _model_name(timeframe)
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = (self._artifact_dir / "runs").resolve().as_uri()
        return str(self._client.create_experiment(name, artifact_location=place))

    def interval_factors(self, version: str) -> tuple[float, ...] | None:
        """What live coverage says to multiply the half-widths of `version` by; None at first.

        Raises ArtifactMismatch where the registry holds something else than positive numbers.
        """
        text = self.tags(version).get("interval_factors")
        if text is None:
            return None
        try:
            factors = tuple(float(factor) for factor in json.loads(text))
        except (TypeError, ValueError) as error:
            raise ArtifactMismatch(f"{version}: interval factors {text!r}: {error}") from error
        if not all(0 < factor < math.inf for factor in factors):
            raise ArtifactMismatch(f"{version}: interval factors {text!r} must be above 0")
        return factors

    def set_interval_factors(self, version: str, factors: tuple[float, ...]) -> None:
        """Set the factor of each horizon; the stream reads them with the champion."""
        self.tag(version, "interval_factors", json.dumps(list(factors)))

    def proven(self, version: str) -> str | None:
        """What the gate found `version` to tell; None of one that was judged before it said so."""
        return self.tags(version).get("proven")

    @property
    def exists(self) -> bool:
        """Whether there is a registry; of one that is no SQLite file it is taken for granted."""
        file = sqlite_file(self._uri)
        return file is None or file.is_file()

    @cached_property
    def _client(self) -> Any:
        return Client(self._uri)

    def _find_champion(self, timeframe: str) -> Any | None:
        name = _model_name(timeframe)
        return self._ask(lambda client: client.get_model_version_by_alias(name, CHAMPION))

    def _get(self, version: str) -> Any:
        timeframe, number = _parse(version)
        name = _model_name(timeframe)
        found = self._ask(lambda client: client.get_model_version(name, number))
        if found is None:
            raise ConfigurationError(f"no model {version} in {shown(self._uri)}")
        return found

    def _ask(self, question: Callable[[Any], Any]) -> Any | None:
        """MLflow's answer; None where it knows of no such thing, or is not there yet."""
        if not self.exists:
            return None
        from mlflow.exceptions import MlflowException

        try:
            return question(self._client)
        except MlflowException as error:
            if error.error_code in NOT_FOUND:
                return None
            raise

    def _ensure_model(self, timeframe: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(_model_name(timeframe))
        except MlflowException as error:
            if error.error_code != EXISTS_ALREADY:
                raise

    def _set_champion(self, version: str) -> None:
        timeframe, number = _parse(version)
        self._client.set_registered_model_alias(_model_name(timeframe), CHAMPION, number)


def _model_name(timeframe: str) -> str:
    return f"candlecast-{timeframe}"


def _version_of(timeframe: str, entry: Any) -> str:
    suffix = _UNPROVEN_SUFFIX if entry.tags.get("unproven") == "true" else ""
    return f"{timeframe}-{entry.version}{suffix}"


def _manifest_hash(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()[:16]


def _parse(version: str) -> tuple[str, str]:
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ConfigurationError(f"{version!r} is no model version; one looks like 1m-3")
    return match[1], match[2]
