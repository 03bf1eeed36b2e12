"""What the page and the API share."""

from pathlib import Path

from conf.settings import Kafka
from dashboard.newest import NewestMessages
from dashboard.sources import Sources
from dashboard.tables import Tables
from model.registry import Registry
from tests.artifacts import save_random_artifact


def test_the_horizons_to_choose_from_are_those_of_the_champion(
    registry: Registry, tmp_path: Path
) -> None:
    newest = NewestMessages(Kafka(), "predictions", "bars.rejected")
    sources = Sources(tmp_path, Tables(tmp_path), newest, registry, "", fee_bp=10.0)
    assert sources.horizons("1m") == ()
    save_random_artifact(tmp_path / "artifact", seed=1, horizons=(1, 5, 15, 30))
    registry.promote(registry.register(tmp_path / "artifact", "1m"))
    assert sources.horizons("1m") == (1, 5, 15, 30)
    assert sources.horizons("1h") == ()
