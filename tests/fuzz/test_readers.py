"""Whatever lies on the page's topics and in the warehouse, the good series are answered for."""

from pathlib import Path

import pytest

from conf.sections import Registry as RegistrySettings
from dashboard.records import prediction, rejection
from dashboard.tables import Tables
from store.series import read_warehouse
from store.views import read_sql
from tests.fuzz.readers import NAMES, counts, lay
from tests.fuzz.records import GOOD_EVERY, GOOD_SYMBOL, REASON, predictions, rejections
from tests.fuzz.spoilt import EVIL_SYMBOL, spoil

NOW_MS = 1_764_000_000_000
RECORDS = 5_000
FILES = 80


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hostile_record_is_refused_for_one_of_few_reasons(seed: int) -> None:
    sent = list(predictions(RECORDS, seed, NOW_MS))  # any other error than a refusal ends it here
    good = [prediction(value, NOW_MS) for value in sent[GOOD_EVERY - 1 :: GOOD_EVERY]]
    assert {row["symbol"] for row in good} == {GOOD_SYMBOL}
    assert len({row["as_of"] for row in good}) == len(good) == RECORDS // GOOD_EVERY
    refused = list(rejections(RECORDS, seed))
    assert {rejection(value) for value in refused[GOOD_EVERY - 1 :: GOOD_EVERY]} == {REASON}


@pytest.mark.parametrize("seed", [1])
def test_spoilt_files_take_no_row_from_a_good_series(
    tmp_path: Path, champion_registry: RegistrySettings, seed: int
) -> None:
    warehouse = tmp_path / "warehouse"
    lay(warehouse, champion_registry)
    before, series = counts(warehouse), read_warehouse(warehouse, "1m", NAMES)
    spoil(warehouse, FILES, seed)

    assert counts(warehouse) == before
    tables = Tables(warehouse)
    assert set(NAMES) <= {symbol for symbol, _ in tables.series()}
    shown = tables.series_of("bars", NAMES[0], "1m", 0, bars=1)
    assert len(shown) == dict(before["bars"])[NAMES[0]]
    for one, again in zip(series, read_warehouse(warehouse, "1m", NAMES), strict=True):
        assert (one.bars == again.bars).all()
    evil = read_sql(warehouse, f"SELECT * FROM bars WHERE symbol = '{EVIL_SYMBOL}'")
    assert (evil[["open", "high", "low", "close"]] > 0).all().all()
