"""`make bench-table`: the table of docs/performance.md, from `bench/results.json`."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from bench.report import RESULTS

PAGE: Final = Path("docs/performance.md")
BEGIN: Final = "<!-- bench: made by `make bench-table` -->"
END: Final = "<!-- /bench -->"
# The ratio, what it says, its unit.
ROWS: Final = (
    ("live_p50_vs_tuned_passthrough", "live p50 against Spark alone, same fetch wait", "x"),
    ("live_p99_vs_tuned_passthrough", "live p99 against Spark alone, same fetch wait", "x"),
    ("live_p50_vs_passthrough", "live p50 against Spark alone, Kafka's default settings", "x"),
    ("live_p99_vs_passthrough", "live p99 against Spark alone, Kafka's default settings", "x"),
    ("live_minute_vs_3s", "live p50, bars 70 s apart against 3 s", "x"),
    ("replay_vs_quix", "replay against Quix Streams, one process a core", "x"),
    ("replay_vs_paper", "replay against kafka-python and `keras predict`", "x"),
    ("replay_vs_onnx", "replay, LSTM(50)x2, against ONNX Runtime alone", "x"),
    ("cores_2_vs_1", "replay, two cores against one", "x"),
    ("cpu_10000_vs_100", "CPU a bar, 10,000 symbols against 100", "x"),
    ("cold_start_s", "`spark-submit` to the first prediction", " s"),
)


def main() -> int:
    """Replace what stands between the markers."""
    results = json.loads(RESULTS.read_text())
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        print(f"{PAGE} has no {BEGIN} ... {END}", file=sys.stderr)
        return 1
    PAGE.write_text(f"{before}{BEGIN}\n{table(results)}{END}{after}")
    return 0


def table(results: dict[str, Any]) -> str:
    """The table as Markdown, with what was measured behind each ratio."""
    behind = measured_behind(results)
    lines = ["| | ratio | of these medians |", "|---|---:|---|"]
    for name, says, unit in ROWS:
        value = results["ratios"][name]
        shown = "not measured" if value is None else f"**{number(value)}{unit}**"
        lines.append(f"| {says} | {shown} | {behind.get(name, '')} |")
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """Three digits or so.

    >>> [number(value) for value in (2143.2, 11.57, 0.992)]
    ['2,143', '11.6', '0.99']
    """
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def measured_behind(results: dict[str, Any]) -> dict[str, str]:
    """The two medians that each ratio is made of; nothing for what was not measured."""
    replay, alone = results["replay"], results["onnx_alone_windows_per_s"]
    rate = {name: f"{found['bars_per_s']['median']:,.0f}" for name, found in replay.items()}
    rate |= {f"alone_{name}": f"{found['median']:,.0f}" for name, found in alone.items()}
    cpu = {name: f"{found['cpu_us_per_bar']['median']:.0f}" for name, found in replay.items()}
    live = {
        f"{side} {way} {q}": f"{found[q]['all_bars'] / 1000:.2f}"
        for side, ways in results["live_ms"].items()
        for way, found in ways.items()
        for q in found
    }
    cold = results["cold_start_s"] or {}
    start = {bound: f"{cold[bound]:.1f}" for bound in ("min", "max") if cold}
    pairs = {
        "replay_vs_quix": (rate, "job_lstm32", "quix", "bars/s"),
        "replay_vs_paper": (rate, "job_lstm32", "paper", "bars/s"),
        "replay_vs_onnx": (rate, "job_lstm50x2", "alone_lstm50x2", "windows/s"),
        "live_p50_vs_passthrough": (live, "job 3s p50", "passthrough 3s p50", "s"),
        "live_p99_vs_passthrough": (live, "job 3s p99", "passthrough 3s p99", "s"),
        "live_p50_vs_tuned_passthrough": (live, "job 3s p50", "tuned_passthrough 3s p50", "s"),
        "live_p99_vs_tuned_passthrough": (live, "job 3s p99", "tuned_passthrough 3s p99", "s"),
        "live_minute_vs_3s": (live, "job 70s p50", "job 3s p50", "s"),
        "cpu_10000_vs_100": (cpu, "job_many_symbols", "job_lstm32", "µs"),
        "cores_2_vs_1": (rate, "job_lstm32", "job_one_core", "bars/s"),
        "cold_start_s": (start, "min", "max", "s"),
    }
    return {
        name: f"{figures[first]} to {figures[second]} {unit}"
        for name, (figures, first, second, unit) in pairs.items()
        if first in figures and second in figures
    }


if __name__ == "__main__":
    sys.exit(main())
