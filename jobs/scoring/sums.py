"""Sums over the outcomes of many series, which add up from block to block; the figures of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from jobs.scoring.trailing import TRAILING
from model.distribution import crps, interval_score, pinball, pit, qlike, symmetric
from model.intervals import CENTRAL, QUANTILES
from model.outcomes import rounded
from model.paid import BASIS_POINTS, acted, block_sums, break_even
from model.significance import Lagged, compare_losses, independent_hits, lags_of, wilson_interval

Floats = NDArray[np.float64]
# An actual or forecast move beyond so many times the median move of its series, and beyond so much
# in any case, counts as that: one absurd price must not decide a score alone.
MOST_MEDIANS: Final = 25.0
ALWAYS_POSSIBLE: Final = 0.01

# Of outcomes whose prediction has quantiles: how many fell between which, those at 50 and 80 %
# inside, and the pinball loss at each.
PIT: Final = tuple(f"pit_{part}" for part in range(1, len(QUANTILES) + 2))
INSIDE: Final = {"coverage_50": ("q25", "q75"), "coverage_80": ("q10", "q90")}
PINBALL: Final = tuple(f"pinball_{name}" for name in QUANTILES)
# Of acting on each sign: what it gained as a log return, how often it traded, and of blocks.
PAID_BLOCKS: Final = ("paid_blocks", "gain_squares", "turnover_squares", "gain_turnover")
_ADDED: Final = (
    "count",
    "absolute",
    "squared",
    "hits",
    "covered",
    "promised",
    "width",
    "own",
    "persistence",
    "arima_count",
    "own_with_arima",
    "arima",
    "spread_count",
    "interval_score",
    "qlike",
    *INSIDE,
    *PINBALL,
    *PIT,
    "gain",
    "turnover",
    *PAID_BLOCKS,
    "trailing_count",
    "crps_with_trailing",
    "crps_trailing",
    "interval_score_trailing",
    "coverage_trailing",
)
_PLAIN: Final = (*_ADDED, "price", "price_squares", "first", "last")
_READ: Final = (
    *("last_close", "bound", "actual", "predicted_close", "arima_close", "held_move"),
    *("lower", "upper", "covered", "coverage", "target", "scale", *QUANTILES, *TRAILING),
)
_RUNS: Final = ("lead", "arima_lead", "crps_lead", "signs")


@dataclass(frozen=True)
class Sums:
    """The sums of runs of outcomes, a run a series, all at one horizon.

    `plain` has (n_runs,) by name: sums, and of the actual prices the mean and the squares around
    it; `runs` the differences in squared error, to persistence and to ARIMA, that in CRPS to
    trailing volatility, and the signs that were forecast. Squared errors are of log returns, but
    `squared`, which is of prices.
    """

    plain: Mapping[str, Floats]
    runs: Mapping[str, Lagged]

    @classmethod
    def of(
        cls, rows: Mapping[str, Floats], run: NDArray[np.int64], n_runs: int, horizon: int
    ) -> Self:
        """Of outcomes (n_rows,) in order of run and time; `bound` is the largest move counted."""
        last, bound = rows["last_close"], rows["bound"]
        moves = {
            name: np.clip(_log_ratio(rows[name], last), -bound, bound)
            for name in ("actual", "predicted_close", "arima_close")
        }
        actual, forecast = moves["actual"], rounded(moves["predicted_close"])
        rival = moves["arima_close"]
        price = last * np.exp(actual)
        error = last * np.exp(moves["predicted_close"]) - price
        signs = np.sign(forecast) * (actual != 0)
        both = np.isfinite(rival)
        held = np.nan_to_num(np.sign(rounded(rows["held_move"])))
        gain, turnover = acted(np.sign(forecast), held, actual)
        blocks = block_sums(gain, turnover, run, n_runs, horizon)
        own, persistence = (actual - forecast) ** 2, actual**2
        arima = np.where(both, (actual - rival) ** 2, 0.0)

        def total(values: Floats | NDArray[np.bool_]) -> Floats:
            return np.bincount(run, values, n_runs).astype(np.float64)

        count = total(np.ones(len(run)))
        mean = total(price) / np.maximum(count, 1)
        plain = {
            "count": count,
            "absolute": total(np.abs(error)),
            "squared": total(error**2),
            "hits": total((signs != 0) & (np.sign(actual) == signs)),
            "covered": total(rows["covered"]),
            "promised": total(rows["coverage"]),
            "width": total((rows["upper"] - rows["lower"]) / last),
            "own": total(own),
            "persistence": total(persistence),
            "arima_count": total(both),
            "own_with_arima": total(np.where(both, own, 0.0)),
            "arima": total(arima),
            "gain": total(gain),
            "turnover": total(turnover),
            **dict(zip(PAID_BLOCKS, blocks.T, strict=True)),
            "price": mean,
            "price_squares": total((price - mean[run]) ** 2),
            "first": _extreme(np.minimum, rows["target"], run, n_runs, np.inf),
            "last": _extreme(np.maximum, rows["target"], run, n_runs, -np.inf),
        }
        spread = _of_spread(rows, actual)
        plain |= {name: total(values) for name, values in spread.items()}
        compared, lags = spread["trailing_count"], lags_of(horizon)
        crps_lead = (spread["crps_with_trailing"] - spread["crps_trailing"])[compared]
        runs = {
            "lead": Lagged.of(own - persistence, run, n_runs, lags),
            "arima_lead": Lagged.of((own - arima)[both], run[both], n_runs, lags),
            "crps_lead": Lagged.of(crps_lead, run[compared], n_runs, lags),
            "signs": Lagged.of(signs, run, n_runs, lags),
        }
        return cls(plain, runs)

    def then(self, later: Self) -> Self:
        """Each run with the one of the same place in `later` behind it."""
        before, after = self.plain, later.plain
        plain = {name: before[name] + after[name] for name in _ADDED}
        count = np.maximum(plain["count"], 1)
        apart = after["price"] - before["price"]
        plain["price"] = (
            before["price"] + np.where(before["count"] > 0, after["count"] / count, 1.0) * apart
        )
        between = apart**2 * before["count"] * after["count"] / count
        plain["price_squares"] = before["price_squares"] + after["price_squares"] + between
        plain["first"] = np.minimum(before["first"], after["first"])
        plain["last"] = np.maximum(before["last"], after["last"])
        return type(self)(plain, {name: self.runs[name].then(later.runs[name]) for name in _RUNS})

    def numbers(self) -> Floats:
        """All as an array (n_runs, n_numbers), to be kept."""
        parts = [self.plain[name][:, None] for name in _PLAIN]
        for name in _RUNS:
            one = self.runs[name]
            parts += [one.count[:, None], one.total[:, None], one.products, one.head, one.tail]
        return np.concatenate(parts, axis=1)

    @classmethod
    def from_numbers(cls, numbers: Floats) -> Self:
        """The inverse of `numbers`."""
        n_plain = len(_PLAIN)
        lags = ((numbers.shape[1] - n_plain) // len(_RUNS) - 3) // 3
        plain = {name: numbers[:, place] for place, name in enumerate(_PLAIN)}
        widths = [1, 1, lags + 1, lags, lags] * len(_RUNS)
        parts = np.split(numbers[:, n_plain:], np.cumsum(widths)[:-1], axis=1)
        runs = {}
        for place, name in enumerate(_RUNS):
            count, total, products, head, tail = parts[5 * place : 5 * place + 5]
            runs[name] = Lagged(count[:, 0], total[:, 0], products, head, tail)
        return cls(plain, runs)

    @classmethod
    def none(cls, n_runs: int, horizon: int) -> Self:
        """Runs without an outcome, which add nothing to others."""
        empty = dict.fromkeys(_READ, np.empty(0))
        return cls.of(empty, np.empty(0, np.int64), n_runs, horizon)

    def figures(self, horizon: int) -> dict[str, Any]:
        """The columns of the scoreboard, (n_runs,) each; NaN where there is no such figure."""
        plain = self.plain
        count, moved = np.maximum(plain["count"], 1), self.runs["signs"].products[:, 0]
        independent = independent_hits(self.runs["signs"], horizon)
        direction = _ratio(plain["hits"], moved)
        low, high = wilson_interval(np.where(moved > 0, direction, 0.0) * independent, independent)
        found: dict[str, Any] = {
            "predictions": plain["count"].astype(np.int64),
            "arima_predictions": plain["arima_count"].astype(np.int64),
            "mae": plain["absolute"] / count,
            "mse": plain["squared"] / count,
            "r2": 1 - _ratio(plain["squared"], plain["price_squares"]),
            "directional_accuracy": direction,
            "direction_low": low,
            "direction_high": high,
            "interval_coverage": plain["covered"] / count,
            "promised_coverage": plain["promised"] / count,
            "mean_width": plain["width"] / count,
            "skill_persistence": 1 - _ratio(plain["own"], plain["persistence"]),
            "skill_arima": 1 - _ratio(plain["own_with_arima"], plain["arima"]),
        }
        for name in (*INSIDE, *PINBALL, *PIT, "interval_score", "qlike"):
            found[name] = _ratio(plain[name], plain["spread_count"])
        found["crps"] = 2 * np.mean([found[name] for name in PINBALL], axis=0)
        blocks = np.stack([plain[name] for name in PAID_BLOCKS], axis=1)
        fee, half = (BASIS_POINTS * x for x in break_even(plain["gain"], plain["turnover"], blocks))
        found["gain_bp"] = BASIS_POINTS * plain["gain"] / count
        found["turnover"] = plain["turnover"] / count
        found["break_even_bp"] = fee
        found["break_even_low_bp"], found["break_even_high_bp"] = fee - half, fee + half
        for name in ("crps_trailing", "interval_score_trailing", "coverage_trailing"):
            found[name] = _ratio(plain[name], plain["trailing_count"])
        found["crps_skill"] = 1 - _ratio(plain["crps_with_trailing"], plain["crps_trailing"])
        for name, run in (("persistence", "lead"), ("arima", "arima_lead"), ("crps", "crps_lead")):
            statistic, p, _ = compare_losses(self.runs[run], horizon)
            there = self.runs[run].count > 0
            found[f"dm_{name}"] = np.where(there, statistic, np.nan)
            found[f"dm_p_{name}"] = np.where(there, p, np.nan)
        found["first_target"], found["last_target"] = plain["first"], plain["last"]
        return {
            name: np.where(np.isfinite(x), x, np.nan) if x.dtype == float else x
            for name, x in found.items()
        }


def _of_spread(rows: Mapping[str, Floats], actual: Floats) -> dict[str, Any]:
    """What is added up of the distribution of each outcome, (n_rows,); 0 where there is none."""
    quantiles = np.stack([_log_ratio(rows[name], rows["last_close"]) for name in QUANTILES], axis=1)
    lower, upper = (_log_ratio(rows[name], rows["last_close"]) for name in ("lower", "upper"))
    # Whoever writes tables may promise to hold every price: such an interval has no score.
    there = np.isfinite(quantiles).all(axis=1) & (rows["scale"] > 0) & (rows["coverage"] < 1)
    part, losses = pit(actual, quantiles), pinball(actual, quantiles)
    with np.errstate(divide="ignore", invalid="ignore"):
        loss_of_scale = qlike(actual, rows["scale"])
        winkler = interval_score(actual, lower, upper, rows["coverage"])
    inside = {
        name: (actual >= _log_ratio(rows[low], rows["last_close"]))
        & (actual <= _log_ratio(rows[high], rows["last_close"]))
        for name, (low, high) in INSIDE.items()
    }
    found = {
        "spread_count": there,
        "interval_score": winkler,
        "qlike": loss_of_scale,
        **inside,
        **{name: losses[:, place] for place, name in enumerate(PINBALL)},
        **{name: part == place for place, name in enumerate(PIT)},
    }
    rival = _of_trailing(rows, actual, 2 * losses.mean(axis=1), there)
    return {name: np.where(there, values, 0) for name, values in found.items()} | rival


def _of_trailing(
    rows: Mapping[str, Floats], actual: Floats, own: Floats, there: NDArray[np.bool_]
) -> dict[str, Any]:
    """The same of trailing volatility, where that and a distribution are known; `own` is the CRPS
    that is compared with."""
    widths = np.stack([rows[name] for name in TRAILING], axis=1)
    both, widest = there & np.isfinite(widths).all(axis=1), widths[:, -1]
    found = {
        "crps_with_trailing": own,
        "crps_trailing": crps(actual, symmetric(np.zeros(len(actual)), widths)),
        "interval_score_trailing": interval_score(actual, -widest, widest, CENTRAL[-1]),
        "coverage_trailing": np.abs(actual) <= widest,
    }
    return {"trailing_count": both} | {n: np.where(both, of, 0) for n, of in found.items()}


def _log_ratio(price: Floats, last: Floats) -> Floats:
    """Log returns; what no number can hold is the largest move, and NaN stays."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.asarray(np.log(price) - np.log(last))


def _ratio(part: Floats, whole: Floats) -> Floats:
    """NaN where `whole` is 0."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def _extreme(
    choose: np.ufunc, values: Floats, run: NDArray[np.int64], n_runs: int, none: float
) -> Floats:
    found = np.full(n_runs, none)
    choose.at(found, run, values)
    return found
