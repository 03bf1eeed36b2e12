"""Scores of distributions, against formulas that are written otherwise."""

import numpy as np
import pytest
from scipy import integrate, stats

from model.distribution import LEVELS, crps, interval_score, pinball, pit, qlike, symmetric

NOISE = np.random.default_rng(5)
ACTUAL = NOISE.normal(size=200)
WIDTHS = np.cumsum(NOISE.exponential(size=(200, 3)), axis=1)
CENTRE = NOISE.normal(size=200)


def test_the_mean_of_weighted_interval_scores_is_the_crps() -> None:
    """Bracher et al. 2021: half the error of the median, and each interval by half its miss."""
    score = np.abs(ACTUAL - CENTRE)
    for place, coverage in enumerate((0.5, 0.8, 0.9)):
        low, high = CENTRE - WIDTHS[:, place], CENTRE + WIDTHS[:, place]
        score = score + (1 - coverage) * interval_score(ACTUAL, low, high, coverage)
    found = crps(ACTUAL, symmetric(CENTRE, WIDTHS))
    np.testing.assert_allclose(found, score / len(LEVELS), rtol=0, atol=1e-12)


def test_pinball_over_many_levels_is_the_crps_of_a_normal_distribution() -> None:
    """Closed form of Gneiting and Raftery 2007, equation 21."""
    z = 0.7
    closed = z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)

    def loss(level: float) -> float:
        over = z - stats.norm.ppf(level)
        return 2 * max(level * over, (level - 1) * over)

    at_ours = pinball(np.array([z]), stats.norm.ppf(LEVELS)[None])[0]
    assert 2 * at_ours == pytest.approx([loss(level) for level in LEVELS], abs=1e-12)
    assert integrate.quad(loss, 0, 1, limit=200)[0] == pytest.approx(closed, abs=1e-6)


def test_the_true_distribution_scores_best_and_fills_the_parts_as_promised() -> None:
    drawn = NOISE.normal(size=200_000)
    true = np.tile(stats.norm.ppf(LEVELS), (len(drawn), 1))
    for factor in (0.8, 1.25):
        assert crps(drawn, true).mean() < crps(drawn, true * factor).mean()
    shares = np.bincount(pit(drawn, true), minlength=8) / len(drawn)
    assert shares == pytest.approx([0.05, 0.05, 0.15, 0.25, 0.25, 0.15, 0.05, 0.05], abs=0.004)


def test_the_mean_size_has_the_least_loss() -> None:
    drawn = NOISE.laplace(size=100_000)
    mean = np.abs(drawn).mean()
    losses = [qlike(drawn, np.full(len(drawn), mean * f)).mean() for f in (0.9, 1.0, 1.1)]
    assert losses[1] == min(losses)
