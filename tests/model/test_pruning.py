"""Models that never served go after a while; nothing that serves, served or is named goes."""

from pathlib import Path

import pytest

from conf.errors import AlreadyRunning, ConfigurationError
from conf.sections import Promotion
from model.decisions import Arena, deciding
from model.pruning import prune_models
from model.registry import Registry
from tests.artifacts import save_random_artifact

LATER_MS = 4_102_444_800_000


@pytest.fixture
def arena(registry: Registry, tmp_path: Path) -> Arena:
    return Arena(registry, tmp_path / "promotions", Promotion())


def register(arena: Arena, tmp_path: Path, seed: int) -> str:
    """A version of random weights, with a report and an MLflow run."""
    artifact, page = tmp_path / f"artifact-{seed}", tmp_path / "page"
    save_random_artifact(artifact, seed=seed)
    version = arena.registry.register(artifact, "1m")
    for folder in (page, tmp_path / "reports" / version):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.html").write_text("a page")
    arena.registry.attach(version, page, {"skill": 0.1})
    return version


def versions(arena: Arena) -> list[str]:
    return [one.version for one in arena.registry.models("1m")]


def prune(arena: Arena, tmp_path: Path, *named: str, before_ms: int = LATER_MS) -> list[str]:
    return prune_models(arena, tmp_path / "reports", before_ms, lambda: named)


def test_what_never_served_goes_with_all_its_files(arena: Arena, tmp_path: Path) -> None:
    served, idle, champion = (register(arena, tmp_path, seed) for seed in (1, 2, 3))
    arena.registry.promote(served)
    arena.registry.promote(champion)
    assert prune(arena, tmp_path) == [idle]
    assert versions(arena) == [champion, served]
    assert sorted(f.name for f in (tmp_path / "reports").iterdir()) == [served, champion]
    left = {f.name for f in (tmp_path / "models").iterdir()}
    assert left == {arena.registry.folder(v).name for v in (served, champion)} | {"runs"}
    assert len(list((tmp_path / "models" / "runs").iterdir())) == 2
    arena.registry.load(champion)
    assert prune(arena, tmp_path) == []


def test_what_is_young_or_named_by_a_prediction_stays(arena: Arena, tmp_path: Path) -> None:
    version = register(arena, tmp_path, 1)
    assert prune(arena, tmp_path, before_ms=0) == []
    assert prune(arena, tmp_path, version) == []
    assert versions(arena) == [version]


def test_a_champion_that_was_rolled_back_stays(arena: Arena, tmp_path: Path) -> None:
    first, second = register(arena, tmp_path, 1), register(arena, tmp_path, 2)
    arena.registry.promote(first)
    arena.registry.promote(second)
    arena.registry.restore(first)
    assert prune(arena, tmp_path) == []


def test_files_that_another_version_shares_stay(arena: Arena, tmp_path: Path) -> None:
    first, twin = register(arena, tmp_path, 1), register(arena, tmp_path, 1)
    arena.registry.promote(first)
    assert prune(arena, tmp_path) == [twin]
    arena.registry.load(first)


def test_a_number_is_never_given_to_another_model(arena: Arena, tmp_path: Path) -> None:
    register(arena, tmp_path, 1)
    last = register(arena, tmp_path, 2)
    prune(arena, tmp_path)
    assert register(arena, tmp_path, 3) != last
    with pytest.raises(ConfigurationError, match="no model 1m-1"):
        arena.registry.tags("1m-1")


def test_nothing_goes_while_a_champion_is_chosen(arena: Arena, tmp_path: Path) -> None:
    register(arena, tmp_path, 1)
    with deciding(arena.promotions_dir), pytest.raises(AlreadyRunning):
        prune(arena, tmp_path)
