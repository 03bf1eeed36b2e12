"""What the page and the API share."""

from pathlib import Path

import pandas as pd
import pytest

from conf.sections import Kafka
from dashboard.newest import NewestMessages
from dashboard.sources import Sources
from dashboard.tables import Tables
from model.registry import Registry
from tests import tables
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


@pytest.mark.parametrize("symbol", ["BTC-USD", "KRAKEN:BTC-USD", "BTC-USDT:USDT", "K:BTC-EUR:EUR"])
def test_the_articles_of_a_symbol_are_its_coins_and_the_markets(
    tmp_path: Path, symbol: str
) -> None:
    time = pd.to_datetime(["2026-11-01"], utc=True).as_unit("us")[0]
    row = {"provider": "wire", "source": "", "url": ""}
    coins = {"Bitcoin": "BTC", "Both": "ETH,BTC", "Market": "", "Ether": "ETH", "Other": "BTCUSD"}
    rows = [{**row, "id": title, "title": title, "coins": named} for title, named in coins.items()]
    written = pd.DataFrame(rows).assign(score=0.5, weight=1.0, published_at=time, available_at=time)
    tables.write(tmp_path, "articles", written)
    found = Tables(tmp_path).articles(symbol, 0, 10)
    assert set(found["title"]) == {"Bitcoin", "Both", "Market"}
