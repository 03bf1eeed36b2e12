"""One reader: each form of a file gives the same bars to ingest, training and evaluation."""

from pathlib import Path

import numpy as np
import pytest

import jobs.evaluate
import jobs.train
from conf.settings import load_settings
from jobs.ingest_replay import recorded_series
from store.recorded import read_file
from tests.recordings import FORMS

ASKED = load_settings().ingest.model_copy(update={"intervals": ["1m"]})


@pytest.mark.parametrize("form", FORMS)
def test_ingest_training_and_evaluation_read_the_same_bars(form: str, tmp_path: Path) -> None:
    name, content, expected = FORMS[form]
    file = tmp_path / name
    file.write_bytes(content)
    (found,) = recorded_series([f"BTC-USDT={file}"], ASKED, (None, None), lambda *_: None)
    published = list(found)
    assert {
        b.open_time: (b.open, b.high, b.low, b.close, b.base_volume, b.quote_volume)
        for b in published
    } == expected
    tells = form.startswith("Binance") or form == "python-binance"
    takers = {(b.trades, b.taker_base_volume, b.taker_quote_volume) for b in published}
    assert (takers == {(12, 0.5, 22500.0)}) is tells
    for series in (read_file(file, "BTC-USDT", "1m"), read_file(file, "BTC-USDT")):
        assert series.interval == "1m"
        rows = np.flatnonzero(~np.isnan(series.close))
        opened = (series.close_times(rows) - series.bar_ms).tolist()
        known = [[np.nan if v is None else v for v in values] for values in expected.values()]
        assert opened == list(expected)
        np.testing.assert_array_equal(series.bars[rows], known)


def test_training_and_evaluation_have_no_reader_of_their_own() -> None:
    assert jobs.train.read_file is jobs.evaluate.read_file is read_file
