"""The scoreboard as a table whose colours mean something."""

from typing import Any, Final

import pandas as pd

GOOD: Final = "background-color: rgba(42, 157, 143, 0.30)"
BAD: Final = "background-color: rgba(209, 73, 91, 0.30)"
LEVEL: Final = 0.05
LEGEND: Final = (
    "Green: better than chance allows (p < 0.05, or an interval that leaves 50 % out). Red: worse "
    "than chance allows, or intervals that hold 5 points more or fewer than promised. No colour: "
    "can't be told from luck. Skill is 1 - MSE / MSE of the rival, on returns."
)
# The page's name of a figure, its column in the scoreboard, and its format.
_FIGURES: Final = (
    ("n", "predictions", "{:,}"),
    ("skill", "skill_persistence", "{:+.2%}"),
    ("p", "dm_p_persistence", "{:.3f}"),
    ("vs ARIMA", "skill_arima", "{:+.2%}"),
    ("p ARIMA", "dm_p_arima", "{:.3f}"),
    ("direction", "directional_accuracy", "{:.1%}"),
    ("from", "direction_low", "{:.0%}"),
    ("to", "direction_high", "{:.0%}"),
    ("covered", "interval_coverage", "{:.1%}"),
    ("promised", "promised_coverage", "{:.0%}"),
    ("width", "mean_width", "{:.3%}"),
    ("MAE", "mae", "{:.4g}"),
    ("MSE", "mse", "{:.4g}"),
    ("R2", "r2", "{:.4f}"),
)


def shown_board(board: pd.DataFrame, span: str, backfilled: bool) -> pd.DataFrame:
    """The rows of one span, with the names that the page uses."""
    rows = board[(board["span"] == span) & (board["backfilled"].astype(bool) == backfilled)]
    ahead = rows["horizon"].astype(str) + " x " + rows["interval"].astype(str)
    series = {"symbol": rows["symbol"], "ahead": ahead, "model": rows["model_version"]}
    figures = {name: rows[column] for name, column, _ in _FIGURES}
    return pd.DataFrame(series | figures).reset_index(drop=True)


def styled(shown: pd.DataFrame) -> Any:
    """The table with formats and colours, for `st.dataframe`."""
    formats: Any = {name: form for name, _, form in _FIGURES}
    return shown.style.apply(_colours, axis=1).format(formats, na_rep="-")


def verdict(skill: float, p_value: float) -> str:
    """The colour of a skill: only what chance does not explain has one.

    >>> verdict(0.03, 0.2), verdict(0.03, 0.01) == GOOD, verdict(-0.03, 0.01) == BAD
    ('', True, True)
    """
    if not p_value < LEVEL:
        return ""
    return GOOD if skill > 0 else BAD


def _colours(row: pd.Series) -> list[str]:
    colours = {
        "skill": verdict(row["skill"], row["p"]),
        "vs ARIMA": verdict(row["vs ARIMA"], row["p ARIMA"]),
        "direction": GOOD if row["from"] > 0.5 else BAD if row["to"] < 0.5 else "",
        "covered": BAD if abs(row["covered"] - row["promised"]) > LEVEL else GOOD,
    }
    return [colours.get(str(name), "") for name in row.index]
