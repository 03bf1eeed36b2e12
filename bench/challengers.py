"""How often a year of weekly challengers promotes one that has no skill, and how soon one that has.

`make challengers` lets the gate's own code judge simulated years: hourly returns with fat tails in
units of their volatility; each week a challenger that reads the last five returns, by a kernel that
resembles that of the week before, judged on the newest 1,000 hours. Without skill the kernel is
chance alone; with skill a share of each return follows from the one before, and the kernel knows
it. Figures: docs/decisions.md.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats

from conf.sections import Promotion
from conf.settings import load_settings
from model.dataset import TARGET_LIMIT, Span
from model.decisions import level_left
from model.outcomes import Outcomes
from model.promotion import ALONE, CHALLENGER, Verdict, compared

Floats = NDArray[np.float64]

WEEKS: Final = 52
HOUR_MS: Final = 3_600_000
WEEK_HOURS: Final = 168
JUDGED_HOURS: Final = 1_000
LAGS: Final = 5
# How large forecasts of no skill are, in volatilities: smaller ones cost less squared error, so
# that chance passes more easily.
NOISE: Final = 0.03
# How much of a week's kernel is that of the week before.
KEPT: Final = 0.8
# The half-widths of the intervals of CENTRAL, of the returns as they are drawn.
WIDTHS: Final = tuple(stats.t(4).ppf([0.75, 0.9, 0.95]) / np.sqrt(2))
SEED: Final = 7


def first_promotion(seed: int, gate: Promotion, skill: float = 0.0) -> int | None:
    """In which week (0 is the first) of a simulated year the gate promotes a challenger, or None.

    `skill` is the share of the variance of a return that follows from the one before, and that
    every challenger forecasts.
    """
    noise = np.random.default_rng(seed)
    returns = _returns(noise, JUDGED_HOURS + WEEKS * WEEK_HOURS + LAGS, np.sqrt(skill))
    past = np.lib.stride_tricks.sliding_window_view(returns[:-1], LAGS)
    actual = np.clip(returns[LAGS:], -TARGET_LIMIT, TARGET_LIMIT)
    known = np.append(np.zeros(LAGS - 1), np.sqrt(skill))
    chance = noise.normal(size=LAGS)
    rows: list[dict[str, Any]] = []
    for week in range(WEEKS):
        chance = KEPT * chance + np.sqrt(1 - KEPT**2) * noise.normal(size=LAGS)
        kernel = known if skill else NOISE / np.sqrt(LAGS) * chance
        judged = slice(week * WEEK_HOURS, week * WEEK_HOURS + JUDGED_HOURS)
        verdict = _judged(actual[judged], (past @ kernel)[judged], judged.stop, gate, rows)
        if verdict.promoted:
            return week
        until = datetime.fromtimestamp(verdict.judged_until / 1000, UTC)
        rows.append({"interval": "1h", "judged_until": until, "level": verdict.level})
    return None


def _returns(noise: np.random.Generator, count: int, momentum: float) -> Floats:
    shocks = noise.standard_t(4, count) / np.sqrt(2) * np.sqrt(1 - momentum**2)
    for i in range(1, count if momentum else 0):
        shocks[i] += momentum * shocks[i - 1]
    return np.asarray(shocks)


def _judged(
    actual: Floats, forecast: Floats, stop: int, gate: Promotion, rows: list[dict[str, Any]]
) -> Verdict:
    times = np.arange(stop - len(actual), stop) * HOUR_MS
    unseen = Span(int(times[0]), int(times[-1]) + HOUR_MS)
    ones = np.ones(len(actual))
    outcomes = Outcomes(
        symbol=np.full(len(actual), "A-B"),
        time=times,
        horizon=np.ones(len(actual), np.int64),
        last_close=ones,
        actual=actual,
        forecasts={CHALLENGER: forecast},
        scale=ones,
        trailing=ones,
        spreads=dict.fromkeys((CHALLENGER, *ALONE), np.outer(ones, WIDTHS)),
    )
    level = level_left(rows, "1h", unseen.end, gate.level)
    return compared(outcomes, (1,), None, unseen, gate.model_copy(update={"level": level}))


def main(
    years: Annotated[int, typer.Option(help="of each kind")] = 200,
) -> None:
    """Simulate years of challengers without and with skill."""
    console, gate = Console(markup=False, highlight=False), load_settings().promotion
    for skill in (0.0, 0.01, 0.02, 0.04):
        found = [first_promotion(SEED + year, gate, skill) for year in range(years)]
        weeks = [week for week in found if week is not None]
        median = f", in the median after {np.median(weeks):.0f} weeks" if weeks else ""
        console.print(
            f"skill {skill:.0%}: {len(weeks) / years:.1%} of {years} years promote{median}"
        )


if __name__ == "__main__":
    typer.run(main)
