"""`make recording`: the page with the last demo's predictions in one file, `docs/replay.html`.

It opens from a disk, without a server and without a network. The modules of the page stand in it as
they are, under the names by which they import one another.
"""

import base64
import json
import math
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from conf.errors import MissingPrerequisite
from conf.state_files import replace_file
from conf.timeframes import TIMEFRAME_MS
from dashboard.site import WEB, chart_library
from jobs.demo.stage import DEMO_DIR
from jobs.terminal.program import run_program
from model.intervals import UPPER
from store.views import read_sql

TARGET: Final = Path("docs/replay.html")
INTERVAL: Final = "1m"
# Minutes before the first prediction, for the sparkline.
BEFORE: Final = 60
PRICES: Final = ("open", "high", "low", "close", "volume")

_BARS: Final = """
SELECT symbol, epoch_ms(open_time) AS time, open, high, low, close, base_volume AS volume
FROM bars WHERE interval = $interval ORDER BY symbol, open_time
"""
_PREDICTIONS: Final = """
SELECT symbol, epoch_ms(as_of) AS as_of, horizon, predicted_close, q75, q90, q95, coverage,
       model_version
FROM predictions WHERE interval = $interval
"""


def record(warehouse_dir: Path) -> dict[str, Any]:
    """What the page plays: for each symbol its minutes, and what was predicted from each.

    Raises MissingPrerequisite where nothing was predicted.
    """
    values = {"interval": INTERVAL}
    bars, made = (
        read_sql(warehouse_dir, _BARS, values),
        read_sql(warehouse_dir, _PREDICTIONS, values),
    )
    if made.empty:
        raise MissingPrerequisite(
            f"{warehouse_dir} holds no predictions: run `make demo ARGS=--exit` first"
        )
    horizons = sorted(int(horizon) for horizon in made["horizon"].unique())
    first = int(made["as_of"].min()) - (BEFORE + 1) * TIMEFRAME_MS[INTERVAL]
    series = [
        _series(str(symbol), rows[rows["time"] >= first], made[made["symbol"] == symbol], horizons)
        for symbol, rows in bars.groupby("symbol")
    ]
    bar = TIMEFRAME_MS[INTERVAL]
    return {"interval": INTERVAL, "bar_ms": bar, "horizons": horizons, "series": series}


def _series(
    symbol: str, bars: pd.DataFrame, made: pd.DataFrame, horizons: list[int]
) -> dict[str, Any]:
    """A missing minute repeats the close before it, and nothing is predicted from it."""
    bar, first = TIMEFRAME_MS[INTERVAL], int(bars["time"].iloc[0])
    times = np.arange(first, int(bars["time"].iloc[-1]) + bar, bar)
    grid = bars.set_index("time").reindex(times)
    grid["close"] = grid["close"].ffill()
    for name in ("open", "high", "low"):
        grid[name] = grid[name].fillna(grid["close"])
    by_bar: dict[int, dict[int, list[float]]] = {}
    for as_of, horizon, middle, *ends in made[
        ["as_of", "horizon", "predicted_close", *UPPER]
    ].itertuples(index=False):
        # Intervals lie evenly around their middle, in log returns: half-widths tell all their ends.
        widths = [float(f"{1e4 * math.log(end / middle):.4g}") for end in ends]
        by_bar.setdefault(int(as_of) - bar, {})[int(horizon)] = [_short(middle), *widths]
    known = [by_bar.get(int(time)) for time in times]
    return {
        "symbol": symbol,
        "first": first,
        "coverage": float(made["coverage"].iloc[0]),
        "model": str(made["model_version"].iloc[0]),
        "reason": "it comes with the code, and is not proven on these bars",
        **{name: [_short(value) for value in grid[name].fillna(0.0)] for name in PRICES},
        "made": [one and [one.get(horizon) for horizon in horizons] for one in known],
    }


def _short(price: float) -> float:
    return float(f"{price:.7g}")


def page(recorded: dict[str, Any]) -> str:
    """The page as one file, with what it plays."""
    modules = {path.stem: path.read_text() for path in sorted(WEB.glob("*.js"))}
    imports = {name: _address(code) for name, code in modules.items()}
    data = json.dumps(recorded, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    scripts = [
        f'<script type="application/json" id="recorded">{data}</script>',
        f"<script>{chart_library().read_text()}</script>",
        f'<script type="importmap">{json.dumps({"imports": imports})}</script>',
        '<script type="module">import "page";</script>',
    ]
    html = (WEB / "index.html").read_text()
    html = re.sub(r"<script .*?</script>\n", "", html)
    html = re.sub(r'<link rel="icon".*?>\n', "", html)
    style = f"<style>{(WEB / 'page.css').read_text()}</style>"
    html = re.sub(r'<link rel="stylesheet".*?>', lambda _: style, html)
    return html.replace("</body>", "\n".join(scripts) + "\n</body>")


def _address(code: str) -> str:
    """A module as an address; modules of a file on a disk can't be found by a path."""
    bare = re.sub(r'from "\./(\w+)\.js"', r'from "\1"', code)
    return f"data:text/javascript;base64,{base64.b64encode(bare.encode()).decode()}"


def main() -> None:
    """Write the file from what the last demo left."""
    replace_file(TARGET, page(record(DEMO_DIR)))
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run_program(main)
