"""The champions in service, asked for before each micro-batch: a new one needs no restart."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from conf.errors import ArtifactMismatch, CandlecastError, RegistryUnavailable
from conf.events import event
from conf.sections import Market
from model.artifact import Artifact
from model.asking import Asking
from model.features import input_named, reading
from model.forecast import Forecaster
from model.registry import Registry
from model.served import Models, ServedModel

log = logging.getLogger(__name__)

# How long the first question may take, or one while nothing serves; and how long a micro-batch
# waits for another, which takes some milliseconds.
START_S: Final = 30.0
ANSWER_S: Final = 2.0


class Champions:
    """The model to serve at each interval, whether the registry answers or not.

    A champion that can't be served (tampered with, an unknown feature, one that needs a field
    which the source lacks, another lookback, other leaders, a graph that fails) is rejected and
    logged once; the last good one serves on, after a restart the one of before it, or the one that
    the champion replaced. So it does, with its interval factors, while the registry is away. For a
    champion that reads news or leaders the newest good ones that do not are kept ready.

    `lacking` are fields of a bar, and the source that lacks each.

    `away_since` is the unix time since which the registry has not answered; 0.0 while it does.
    """

    def __init__(
        self,
        registry: Registry,
        intervals: Iterable[str],
        lookback: int,
        market: Market,
        lacking: Mapping[str, str] = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.away_since = 0.0
        self._registry = registry
        self._intervals = tuple(intervals)
        self._lookback = lookback
        self._market = market
        self._lacking = lacking
        self._asking = Asking(self._look, clock)
        self._begun = False
        self._serving: dict[str, ServedModel] = {}
        self._logged_none = False
        # Only the question works on these.
        self._held: dict[str, Artifact] = {}
        self._substitutes: dict[str, list[Artifact]] = {}
        self._rejected: set[str] = set()
        self._before: dict[str, ServedModel] = {}

    def begin(self, before: Models) -> None:
        """Ask for the first time; `before` is what served when the program last ran.

        Raises an error of ours where the registry is away, or is none, and nothing served before.
        """
        self._before = self.servable(before)
        self._serving = dict(self._before)
        try:
            self._ask()
        except CandlecastError as error:
            if not self._serving:
                raise
            self._note_away(error)

    def current(self) -> dict[str, ServedModel]:
        """The models that predict the next micro-batch, by interval."""
        try:
            self._ask()
        except Exception as error:  # whatever it is, it is no reason to end the stream
            self._note_away(error)
        if not self._serving and not self._logged_none:
            self._logged_none = True
            event(log, "no_champion", level=logging.WARNING, effect="bars are archived only")
        return self._serving

    def servable(self, models: Models) -> dict[str, ServedModel]:
        """Those of `models` that this program can serve; the log says why not the others."""
        found = {}
        for timeframe, model in models.items():
            try:
                self.require_servable(model.artifact, timeframe)
            except ArtifactMismatch as error:
                _log_rejected(model.artifact.version, error)
            else:
                found[timeframe] = model
        return found

    def _ask(self) -> None:
        # With nothing to serve, what is not waited for is never predicted.
        within_s = ANSWER_S if self._serving and self._begun else START_S
        self._begun = True
        found = self._asking.answer(within_s)
        if found is None:
            return
        self._serving = found
        if self.away_since:
            event(log, "registry_back", away_s=time.time() - self.away_since)
            self.away_since = 0.0

    def _note_away(self, error: Exception) -> None:
        if not self.away_since:
            self.away_since = time.time()
            serving = ",".join(model.artifact.version for model in self._serving.values())
            event(
                log,
                "registry_away",
                level=logging.ERROR,
                serving=serving or "none",
                reason=f"{type(error).__name__}: {error}",
            )

    def _look(self) -> dict[str, ServedModel]:
        if self._serving and not self._registry.exists:
            raise RegistryUnavailable("the registry is no longer where it was")
        versions = {timeframe: self._registry.champion(timeframe) for timeframe in self._intervals}
        # Other programs make an empty one where it is gone, and no command takes a champion away:
        # what has served at a timeframe serves on there until the registry names another.
        lost = {name: model for name, model in self._serving.items() if not versions.get(name)}
        if lost and not any(versions.values()):
            raise RegistryUnavailable(f"the registry has lost the champion of {', '.join(lost)}")
        for timeframe, version in versions.items():
            held = self._held.get(timeframe)
            is_new = version is not None and (held is None or held.version != version)
            if version is not None and is_new and version not in self._rejected:
                self._take(timeframe, version)
        return lost | {name: self._served(name) for name in self._held if name not in lost}

    def _served(self, timeframe: str) -> ServedModel:
        champion, *substitutes = (
            ServedModel(
                artifact,
                self._factors(artifact),
                proven=self._registry.proven(artifact.version),
            )
            for artifact in (self._held[timeframe], *self._substitutes.get(timeframe, ()))
        )
        return replace(champion, substitutes=tuple(substitutes))

    def _factors(self, artifact: Artifact) -> tuple[float, ...] | None:
        """The model's interval factors; none where the registry's do not fit."""
        try:
            factors = self._registry.interval_factors(artifact.version)
            if factors is not None and len(factors) != artifact.manifest.n_intervals:
                raise ArtifactMismatch(f"interval factors {factors} are not one an interval")
        except ArtifactMismatch as error:
            if f"{artifact.version} factors" not in self._rejected:
                self._rejected.add(f"{artifact.version} factors")
                _log_rejected(artifact.version, error, "interval_factors_rejected")
            return None
        return factors

    def _take(self, timeframe: str, version: str) -> None:
        artifact = self._loaded(timeframe, version)
        if artifact is None:
            self._fall_back(timeframe)
            return
        self._held[timeframe] = artifact
        event(log, "champion", model=version, interval=timeframe)
        self._substitutes[timeframe] = self._found_substitutes(timeframe, artifact)

    def _fall_back(self, timeframe: str) -> None:
        """After a restart, in place of a champion that can't be served."""
        if timeframe in self._held:
            return
        if before := self._before.get(timeframe):
            self._held[timeframe] = before.artifact
            self._substitutes[timeframe] = [one.artifact for one in before.substitutes]
            event(log, "champion", model=before.artifact.version, interval=timeframe)
            return
        replaced = self._registry.replaced_by_champion(timeframe)
        if replaced and replaced not in self._rejected:
            self._take(timeframe, replaced)

    def _found_substitutes(self, timeframe: str, champion: Artifact) -> list[Artifact]:
        """Models for when what the champion reads falls silent: the news, its leaders, or both."""
        reads, found = champion.manifest, dict[str, Artifact]()
        for news, leaders in ((True, False), (False, True), (True, True)):
            if not ((news and reads.reads_news) or (leaders and reads.reads_leaders)):
                continue
            without = "+".join(["news"] * news + ["leaders"] * leaders)
            version = self._registry.newest_without(timeframe, news, leaders)
            artifact = self._loaded(timeframe, version) if version else None
            if artifact is None:
                event(
                    log, "no_substitute", level=logging.WARNING, interval=timeframe, without=without
                )
            elif artifact.version not in found:
                found[artifact.version] = artifact
                event(log, "substitute", model=version, interval=timeframe, without=without)
        return list(found.values())

    def _loaded(self, timeframe: str, version: str) -> Artifact | None:
        """The version, if it can be served; else None, and the log says why not."""
        try:
            artifact = self._registry.load(version)
            self.require_servable(artifact, timeframe)
        except ArtifactMismatch as error:
            self._rejected.add(version)
            _log_rejected(version, error)
            return None
        return artifact

    def require_servable(self, artifact: Artifact, timeframe: str) -> None:
        """Raise ArtifactMismatch where this is no model of the timeframe for this stream."""
        manifest = artifact.manifest
        if (manifest.lookback, manifest.interval) != (self._lookback, timeframe):
            raise ArtifactMismatch(
                f"{artifact.version} forecasts {manifest.interval} and looks back "
                f"{manifest.lookback} bars; it is registered for {timeframe}, and the stream's "
                f"window state holds {self._lookback} (setting window.lookback)"
            )
        for symbol, trained in manifest.leaders.items():
            if (named := self._market.of(symbol)) != trained:
                raise ArtifactMismatch(
                    f"{artifact.version} was trained with {_named(trained)} as leaders of "
                    f"{symbol}, the settings name {_named(named)}: train again, or set [market] "
                    "as it was"
                )
        for name in reading(manifest.feature_names, self._lacking):
            field = input_named(name).feature.needs or ""
            raise ArtifactMismatch(
                f"{artifact.version} reads {name}, which needs {field}, and {self._lacking[field]} "
                "does not tell it: train again, which leaves it out"
            )
        Forecaster(artifact)  # a graph that fails is rejected here, not in a worker


def _named(leaders: Iterable[str | None]) -> str:
    return ", ".join(name or "none" for name in leaders) or "none"


def _log_rejected(version: str, error: Exception, name: str = "model_rejected") -> None:
    event(log, name, level=logging.ERROR, model=version, reason=error)
