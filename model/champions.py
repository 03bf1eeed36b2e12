"""The champions in service, asked for before each micro-batch: a new one needs no restart."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from conf.errors import ArtifactMismatch
from model.artifact import Artifact
from model.forecast import Forecaster

log = logging.getLogger(__name__)


class ChampionSource(Protocol):
    """What the registry answers."""

    def champion(self, interval: str) -> str | None:
        """The version that is champion of an interval, or None."""
        ...

    def load(self, version: str) -> Artifact:
        """The artifact of a version; raises ArtifactMismatch if it is not what it should be."""
        ...

    def replaced_by_champion(self, interval: str) -> str | None:
        """The version that the present champion took the place of, or None."""
        ...

    def interval_factors(self, version: str) -> tuple[float, ...] | None:
        """What live coverage says to multiply the intervals of a version by."""
        ...


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A champion as it travels with a micro-batch: version and bytes, so no worker reads a file."""

    artifact: Artifact
    interval_factors: tuple[float, ...] | None = None


@dataclass
class Champions:
    """The model to serve at each interval.

    A champion that can't be served (tampered with, other features, another lookback) is refused
    and logged once; the last good one serves on, after a restart the one that it replaced.
    """

    registry: ChampionSource
    intervals: Iterable[str]
    lookback: int
    _serving: dict[str, Artifact] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)
    _said_none: bool = False

    def current(self) -> dict[str, ServedModel]:
        """The models that predict the next micro-batch, by interval."""
        for interval in self.intervals:
            version = self.registry.champion(interval)
            serving = self._serving.get(interval)
            is_new = version is not None and (serving is None or serving.version != version)
            if version is not None and is_new and version not in self._refused:
                self._take(interval, version)
        if not self._serving and not self._said_none:
            self._said_none = True
            log.warning("champion=none: bars are archived, nothing is predicted until one is there")
        return {
            interval: ServedModel(artifact, self.registry.interval_factors(artifact.version))
            for interval, artifact in self._serving.items()
        }

    def _take(self, interval: str, version: str) -> None:
        try:
            self._serving[interval] = self._loaded(version)
        except ArtifactMismatch as error:
            self._refused.add(version)
            before = self.registry.replaced_by_champion(interval)
            if interval not in self._serving and before and before not in self._refused:
                self._take(interval, before)
            serving = self._serving.get(interval)
            last_good = serving.version if serving else "none"
            log.error("refused=%s serving=%s reason=%s", version, last_good, error)
        else:
            log.info("champion=%s interval=%s", version, interval)

    def _loaded(self, version: str) -> Artifact:
        artifact = self.registry.load(version)
        if artifact.manifest.lookback != self.lookback:
            raise ArtifactMismatch(
                f"{version} looks back {artifact.manifest.lookback} bars; the stream's window "
                f"state holds {self.lookback} (setting window.lookback)"
            )
        Forecaster(artifact)  # a graph that can't be loaded is refused here, not in a worker
        return artifact
