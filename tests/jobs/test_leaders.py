"""`candlecast leaders`: what it prints is a setting."""

import io
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import jobs.leaders
from conf.errors import NotEnoughBars
from conf.sections import Market
from conf.settings import load_settings
from jobs.leaders import print_proposal
from model.leading import Lead, Proposal
from model.series import Series
from tests.synthetic import START, led_by, random_series, write_file


def printed(proposal: Proposal) -> str:
    console = Console(file=io.StringIO(), width=60)
    print_proposal(console, proposal)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_the_proposal_is_a_setting_and_names_are_whole() -> None:
    lead = Lead("COINBASE:BTC-USD", "KRAKEN:A-VERY-LONG-NAME-OF-A-COIN", 0.05, -0.0003, 1e-9)
    text = printed(Proposal(("COINBASE:BTC-USD",), (lead,)))
    market = Market.model_validate(tomllib.loads(text[text.index("[market]") :])["market"])
    assert market.leaders == ["COINBASE:BTC-USD"]
    assert "+5.00%" in text
    assert "…" not in text


def test_where_nobody_is_worth_it_the_best_is_shown_and_nothing_proposed() -> None:
    leads = tuple(Lead(name, "C-D", gain, 0.0, 0.5) for name, gain in (("A-B", 0.0), ("E-F", 0.01)))
    text = printed(Proposal((), leads))
    assert "leave `[market] leaders` empty" in text
    assert "E-F" in text
    assert "A-B" not in text


def test_what_is_held_back_is_left_out_of_a_series_that_began_late_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = random_series(2000, seed=5)
    late = replace(early.since(START + 1500 * 60_000), symbol="y")
    for name, one in (("btcusdt_1m", early), ("ethusdt_1m", late)):
        write_file(tmp_path / f"{name}.csv.gz", one)
    seen: list[int] = []

    def noted(series: list[Series], *_: object) -> Proposal:
        seen.extend(one.end_time for one in series)
        return Proposal((), ())

    monkeypatch.setattr(jobs.leaders, "propose", noted)
    jobs.leaders.main(data=tmp_path, candidates=2)
    held_back = 2000 * load_settings().training.test_share
    assert seen == [START + int(2000 - held_back) * 60_000] * 2


def test_files_are_read_and_the_part_that_judges_models_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leader = random_series(2000, seed=5)
    returns = np.diff(np.log(leader.close), prepend=np.log(leader.close[0]))
    follower = Series("x", "1m", START, led_by(returns, delay=1, weight=0.5, seed=6))
    write_file(tmp_path / "btcusdt_1m.csv.gz", leader)
    with pytest.raises(NotEnoughBars, match="one series alone"):
        jobs.leaders.main(data=tmp_path, candidates=2)
    write_file(tmp_path / "ethusdt_1m.csv.gz", follower)
    jobs.leaders.main(data=tmp_path, candidates=2)
    assert 'leaders = ["btcusdt_1m"]' in capsys.readouterr().out
