"""`make bench-table`: the README's table from `bench/results.json`, between its markers."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from bench.report import RESULTS

README: Final = Path("README.md")
BEGIN: Final = "<!-- bench: made by `make bench-table` -->"
END: Final = "<!-- /bench -->"
# The ratio, what it says, what was asked for, its unit.
ROWS: Final = (
    ("replay_vs_quix", "replay against Quix Streams, one process a core", "at least 2x", "x"),
    ("replay_vs_paper", "replay against kafka-python and `keras predict`", "at least 1,500x", "x"),
    ("replay_vs_onnx", "replay, LSTM(50)x2, against ONNX Runtime alone", "at least 0.35x", "x"),
    ("live_p50_vs_passthrough", "live p50 against Spark passing through", "at most 1.6x", "x"),
    ("live_p99_vs_passthrough", "live p99 against Spark passing through", "at most 1.6x", "x"),
    ("live_minute_vs_3s", "live p50, bars 70 s apart against 3 s", "at most 1.3x", "x"),
    ("cpu_10000_vs_100", "CPU a bar, 10,000 symbols against 100", "at most 1.3x", "x"),
    ("cores_2_vs_1", "replay, two cores against one", "at least 1.6x", "x"),
    ("cold_start_s", "`spark-submit` to the first prediction", "at most 15 s", " s"),
)


def main() -> int:
    """Replace what stands between the markers."""
    results = json.loads(RESULTS.read_text())
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        print(f"{README} has no {BEGIN} ... {END}", file=sys.stderr)
        return 1
    README.write_text(f"{before}{BEGIN}\n{table(results)}{END}{after}")
    return 0


def table(results: dict[str, Any]) -> str:
    """The table as Markdown, with what was measured behind each ratio."""
    behind = measured_behind(results)
    lines = ["| | asked | measured | |", "|---|---|---|---|"]
    for name, says, asked, unit in ROWS:
        value = results["ratios"][name]
        shown = "not measured" if value is None else f"**{value:,.3g}{unit}**"
        lines.append(f"| {says} | {asked} | {shown} | {behind.get(name, '')} |")
    return "\n".join(lines) + "\n"


def measured_behind(results: dict[str, Any]) -> dict[str, str]:
    """The medians that each ratio is made of; nothing for what was not measured."""
    rate = {n: f"{f['bars_per_s']['median']:,.0f}" for n, f in results["replay"].items()}
    cpu = {n: f"{f['cpu_us_per_bar']['median']:.0f}" for n, f in results["replay"].items()}
    alone = {n: f"{f['median']:,.0f}" for n, f in results["onnx_alone_windows_per_s"].items()}
    live = {
        (side, way, q): f"{found[q]['all_bars'] / 1000:.2f} s"
        for side, ways in results["live_ms"].items()
        for way, found in ways.items()
        for q in found
    }
    cold = results["cold_start_s"]
    behind = {}
    ours = rate.get("job_lstm32")
    if "quix" in rate:
        behind["replay_vs_quix"] = f"{ours} to {rate['quix']} bars/s"
        behind["replay_vs_paper"] = f"{ours} to {rate['paper']} bars/s"
        behind["replay_vs_onnx"] = f"{rate['job_lstm50x2']} to {alone['lstm50x2']} bars/s"
    if live:
        for q in ("p50", "p99"):
            both = f"{live['job', '3s', q]} to {live['passthrough', '3s', q]}"
            behind[f"live_{q}_vs_passthrough"] = both
        behind["live_minute_vs_3s"] = f"{live['job', '70s', 'p50']} to {live['job', '3s', 'p50']}"
    if "job_many_symbols" in cpu:
        behind["cpu_10000_vs_100"] = f"{cpu['job_many_symbols']} to {cpu['job_lstm32']} µs"
    if "job_one_core" in rate:
        behind["cores_2_vs_1"] = f"{ours} to {rate['job_one_core']} bars/s"
    if cold:
        behind["cold_start_s"] = f"{cold['min']:.1f} to {cold['max']:.1f} s"
    return behind


if __name__ == "__main__":
    sys.exit(main())
