"""Which leaders are proposed, and that chance proposes none."""

import numpy as np

from model.leading import most_traded, propose
from model.series import Series
from tests.synthetic import START, led_by, random_series

LOOKBACK = 20


def market(weight: float) -> list[Series]:
    """BTC, whose moves ETH and LTC repeat a bar later, and nobody those of DOGE."""
    leader = random_series(3000, seed=1)
    returns = np.diff(np.log(leader.close), prepend=np.log(leader.close[0]))
    followers = [
        Series(name, "1m", START, led_by(returns, delay=1, weight=weight, seed=seed))
        for seed, name in enumerate(("ETH-USD", "LTC-USD"), start=2)
    ]
    return [leader, *followers, random_series(3000, seed=9, symbol="DOGE-USD")]


def test_who_moves_first_is_proposed_and_nobody_else() -> None:
    proposal = propose(market(0.5), ["DOGE-USD", "BTC-USD", "ETH-USD"], LOOKBACK)
    assert proposal.leaders == ("BTC-USD",)
    found = {(lead.leader, lead.follower): lead for lead in proposal.leads}
    for follower in ("ETH-USD", "LTC-USD"):
        lead = found["BTC-USD", follower]
        assert lead.gain > 0.1
        assert lead.p_better < 1e-6
        assert lead.control < 0.01
    assert found["BTC-USD", "DOGE-USD"].gain < 0.01


def test_where_nobody_leads_nobody_is_proposed() -> None:
    assert propose(market(0.0), ["BTC-USD", "DOGE-USD"], LOOKBACK).leaders == ()


def test_series_with_too_few_bars_say_nothing() -> None:
    short = [random_series(150, seed, symbol=name) for seed, name in enumerate(("A-B", "C-D"))]
    proposal = propose(short, ["A-B", "C-D"], LOOKBACK)
    assert (proposal.leaders, proposal.leads) == ((), ())


def test_the_most_traded_come_first() -> None:
    series = market(0.5)
    series[3].bars[:, 4] *= 1e6
    assert most_traded(series, 1) == ["DOGE-USD"]
