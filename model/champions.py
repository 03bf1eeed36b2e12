"""The champions in service, asked for before each micro-batch: a new one needs no restart."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from conf.errors import ArtifactMismatch
from conf.events import event
from model.artifact import Artifact
from model.forecast import Forecaster
from model.registry import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A champion as it travels with a micro-batch: version and bytes, so no worker reads a file.

    `without_news` serves where the news have fallen silent and the champion needs them; None where
    it needs none, or there is no such version.
    """

    artifact: Artifact
    interval_factors: tuple[float, ...] | None = None
    without_news: "ServedModel | None" = None

    def serving(self, news_known: bool) -> "ServedModel | None":
        """The model for bars whose news are known, or not; None where there is none."""
        needs_none = not self.artifact.manifest.reads_news
        return self if news_known or needs_none else self.without_news


@dataclass
class Champions:
    """The model to serve at each interval.

    A champion that can't be served (tampered with, an unknown feature, another lookback) is
    rejected and logged once; the last good one serves on, after a restart the one that it replaced.
    For one that reads news the newest good one that does not is kept ready.
    """

    registry: Registry
    intervals: Iterable[str]
    lookback: int
    _serving: dict[str, Artifact] = field(default_factory=dict)
    _without_news: dict[str, Artifact] = field(default_factory=dict)
    _rejected: set[str] = field(default_factory=set)
    _logged_none: bool = False

    def current(self) -> dict[str, ServedModel]:
        """The models that predict the next micro-batch, by interval."""
        for timeframe in self.intervals:
            version = self.registry.champion(timeframe)
            serving = self._serving.get(timeframe)
            is_new = version is not None and (serving is None or serving.version != version)
            if version is not None and is_new and version not in self._rejected:
                self._take(timeframe, version)
        if not self._serving and not self._logged_none:
            self._logged_none = True
            event(log, "no_champion", level=logging.WARNING, effect="bars are archived only")
        return {timeframe: self._served(timeframe) for timeframe in self._serving}

    def _served(self, timeframe: str) -> ServedModel:
        without, factors = self._without_news.get(timeframe), self.registry.interval_factors
        fallback = None if without is None else ServedModel(without, factors(without.version))
        artifact = self._serving[timeframe]
        return ServedModel(artifact, factors(artifact.version), fallback)

    def _take(self, timeframe: str, version: str) -> None:
        artifact = self._loaded(version)
        if artifact is None:
            before = self.registry.replaced_by_champion(timeframe)
            if timeframe not in self._serving and before and before not in self._rejected:
                self._take(timeframe, before)
            return
        self._serving[timeframe] = artifact
        event(log, "champion", model=version, interval=timeframe)
        self._without_news.pop(timeframe, None)
        if artifact.manifest.reads_news:
            self._take_without_news(timeframe)

    def _take_without_news(self, timeframe: str) -> None:
        """Have a model ready for when the news fall silent."""
        version = self.registry.newest_without_news(timeframe)
        artifact = self._loaded(version) if version else None
        if artifact is None:
            event(log, "no_model_without_news", level=logging.WARNING, interval=timeframe)
        else:
            self._without_news[timeframe] = artifact
            event(log, "model_without_news", model=version, interval=timeframe)

    def _loaded(self, version: str) -> Artifact | None:
        """The version, if it can be served; else None, and the log says why not."""
        try:
            artifact = self.registry.load(version)
            if artifact.manifest.lookback != self.lookback:
                raise ArtifactMismatch(
                    f"{version} looks back {artifact.manifest.lookback} bars; the stream's window "
                    f"state holds {self.lookback} (setting window.lookback)"
                )
            Forecaster(artifact)  # a graph that can't be loaded is rejected here, not in a worker
        except ArtifactMismatch as error:
            self._rejected.add(version)
            event(log, "model_rejected", level=logging.ERROR, model=version, reason=error)
            return None
        return artifact
