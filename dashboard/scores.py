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
_FORMATS: Final = {
    "n": "{:,}",
    "skill": "{:+.2%}",
    "p": "{:.3f}",
    "vs ARIMA": "{:+.2%}",
    "p ARIMA": "{:.3f}",
    "MAE": "{:.4g}",
    "MSE": "{:.4g}",
    "R2": "{:.4f}",
    "direction": "{:.1%}",
    "covered": "{:.1%}",
    "width": "{:.3%}",
}


def shown_board(board: pd.DataFrame, span: str, backfilled: bool) -> pd.DataFrame:
    """The rows of one span, with the names that the page uses."""
    rows = board[(board["span"] == span) & (board["backfilled"].astype(bool) == backfilled)]
    return pd.DataFrame(
        {
            "symbol": rows["symbol"],
            "ahead": rows["horizon"].astype(str) + " x " + rows["interval"].astype(str),
            "model": rows["model_version"],
            "n": rows["predictions"],
            "skill": rows["skill_persistence"],
            "p": rows["dm_p_persistence"],
            "vs ARIMA": rows["skill_arima"],
            "p ARIMA": rows["dm_p_arima"],
            "direction": rows["directional_accuracy"],
            "from": rows["direction_low"],
            "to": rows["direction_high"],
            "covered": rows["interval_coverage"],
            "promised": rows["promised_coverage"],
            "width": rows["mean_width"],
            "MAE": rows["mae"],
            "MSE": rows["mse"],
            "R2": rows["r2"],
        }
    ).reset_index(drop=True)


def styled(shown: pd.DataFrame) -> Any:
    """The table with formats and colours, for `st.dataframe`."""
    formats: dict[Any, Any] = {**_FORMATS, "from": "{:.0%}", "to": "{:.0%}", "promised": "{:.0%}"}
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
