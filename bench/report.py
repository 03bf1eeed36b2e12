"""From what was measured to `results.json`: medians, ranges and the ratios of the table."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.live import PASSTHROUGHS, Latencies, percentile
from bench.replay import Replayed

RESULTS: Final = Path("bench/results.json")
# How the ratios are made, for those who read the file: medians over the rounds.
DEFINITIONS: Final = {
    "replay_vs_quix": "bars/s of the job, LSTM(32), over Quix Streams with one process a core",
    "replay_vs_paper": "bars/s of the job, LSTM(32), over kafka-python and keras predict",
    "replay_vs_onnx": "bars/s of the job over windows/s of ONNX Runtime alone, LSTM(50)x2",
    "live_p50_vs_passthrough": "p50 of the job over p50 of Spark passing through, bars 3 s apart, "
    "with Kafka's default settings",
    "live_p99_vs_passthrough": "the same at p99",
    "live_p50_vs_tuned_passthrough": "the same at p50, the passthrough with the job's fetch wait",
    "live_p99_vs_tuned_passthrough": "the same at p99",
    "live_minute_vs_3s": "p50 of the job with bars 70 s apart over bars 3 s apart",
    "cpu_10000_vs_100": "CPU seconds a bar of the job, 10,000 symbols over 100",
    "cores_2_vs_1": "bars/s of the job on two cores over one, the broker confined to the same",
    "cold_start_s": "seconds from spark-submit to the first prediction readable on Kafka",
}


@dataclass
class Measured:
    """Everything measured in one run; lists run over the rounds."""

    replays: dict[str, list[Replayed]] = field(default_factory=dict)
    onnx_alone: dict[str, list[float]] = field(default_factory=dict)
    live: dict[str, Latencies] = field(default_factory=dict)
    cold_start_s: list[float] = field(default_factory=list)
    same_predictions: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def rate(self, contender: str) -> float | None:
        """Median bars a second; None where it was not measured."""
        found = self.replays.get(contender)
        return statistics.median(one.rate for one in found) if found else None

    def cpu_us(self, contender: str) -> float | None:
        """Median CPU microseconds a bar; None where it was not measured."""
        found = self.replays.get(contender)
        return statistics.median(1e6 * one.cpu_s / one.bars for one in found) if found else None

    def live_ms(self, side: str, way: str, q: float) -> float | None:
        """A percentile over all bars; None where it was not measured."""
        found = self.live.get(side)
        return percentile(found[way], q) if found else None


def ratios(run: Measured) -> dict[str, float | None]:
    """The figures of the table; None for what this run did not measure."""
    windows = run.onnx_alone.get("lstm50x2")
    onnx = statistics.median(windows) if windows else None
    found = {
        "replay_vs_quix": _over(run.rate("job_lstm32"), run.rate("quix")),
        "replay_vs_paper": _over(run.rate("job_lstm32"), run.rate("paper")),
        "replay_vs_onnx": _over(run.rate("job_lstm50x2"), onnx),
        **{
            f"live_p{q}_vs_{side}": _over(run.live_ms("job", "3s", q), run.live_ms(side, "3s", q))
            for side in PASSTHROUGHS
            for q in (50, 99)
        },
        "live_minute_vs_3s": _over(run.live_ms("job", "70s", 50), run.live_ms("job", "3s", 50)),
        "cpu_10000_vs_100": _over(run.cpu_us("job_many_symbols"), run.cpu_us("job_lstm32")),
        "cores_2_vs_1": _over(run.rate("job_lstm32"), run.rate("job_one_core")),
        "cold_start_s": statistics.median(run.cold_start_s) if run.cold_start_s else None,
    }
    return {name: None if value is None else round(value, 3) for name, value in found.items()}


def _over(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours / theirs


def report(run: Measured, about: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the file."""
    return {
        "ratios": ratios(run),
        "definitions": DEFINITIONS,
        "about": {**about, **machine()},
        "replay": {
            name: {
                "bars_per_s": spread([one.rate for one in found]),
                "cpu_us_per_bar": spread([1e6 * one.cpu_s / one.bars for one in found]),
                "bars_measured": [one.bars for one in found],
                "seconds": [round(one.seconds, 2) for one in found],
                "micro_batches": [one.micro_batches for one in found],
            }
            for name, found in run.replays.items()
        },
        "onnx_alone_windows_per_s": {name: spread(v) for name, v in run.onnx_alone.items()},
        "live_ms": {
            side: {
                way: {
                    f"p{q}": {
                        "all_bars": round(percentile(rounds, q)),
                        "rounds": [round(percentile([one], q)) for one in rounds],
                    }
                    for q in (50, 99)
                }
                for way, rounds in found.items()
            }
            for side, found in run.live.items()
        },
        "cold_start_s": spread(run.cold_start_s) if run.cold_start_s else None,
        "predictions_compared_with_ours": run.same_predictions,
        "failed": run.failed,
    }


def merged(
    before: Mapping[str, Any], now: Mapping[str, Any], parts: Sequence[str]
) -> dict[str, Any]:
    """The file of a whole run, with `parts` of another run instead of its own.

    A ratio is made of figures of one run: of the other one, where that measured both sides.
    """
    apart = before["about"].get("measured_apart", {})
    about = {**before["about"], "measured_apart": {**apart, **dict.fromkeys(parts, now["about"])}}
    known = {name: value for name, value in now["ratios"].items() if value is not None}
    inner = ("replay", "onnx_alone_windows_per_s", "live_ms", "predictions_compared_with_ours")
    return {
        **before,
        "ratios": {name: known.get(name, before["ratios"].get(name)) for name in now["ratios"]},
        "definitions": now["definitions"],
        "about": about,
        **{name: {**before[name], **now[name]} for name in inner},
        "cold_start_s": now["cold_start_s"] or before["cold_start_s"],
        "failed": [*before["failed"], *now["failed"]],
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, range and each round's value."""
    digits = 2 if max(values) < 1_000 else 0
    kept = [round(value, digits) for value in values]
    return {
        "median": round(statistics.median(values), digits),
        "min": min(kept),
        "max": max(kept),
        "rounds": kept,
    }


def machine() -> dict[str, Any]:
    """What the run was on."""
    names = ("pyspark", "onnxruntime", "numpy", "pyarrow", "kafka-python", "keras")
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Replace the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")


def show(content: Mapping[str, Any], console: Console) -> None:
    """Print medians, ranges and ratios."""
    table = Table("replay", "bars/s", "range", "CPU us a bar", title="medians over the rounds")
    for name, found in content["replay"].items():
        rate, cpu = found["bars_per_s"], found["cpu_us_per_bar"]
        bounds = f"{rate['min']:,.0f} - {rate['max']:,.0f}"
        table.add_row(name, f"{rate['median']:,.0f}", bounds, f"{cpu['median']:.0f}")
    for name, rate in content["onnx_alone_windows_per_s"].items():
        bounds = f"{rate['min']:,.0f} - {rate['max']:,.0f}"
        table.add_row(f"ONNX alone, {name}", f"{rate['median']:,.0f}", bounds, "")
    console.print(table)
    live = Table("live", "bars apart", "p50 ms", "range", "p99 ms", "range")
    for side, ways in content["live_ms"].items():
        for way, found in ways.items():
            cells = [
                cell
                for q in ("p50", "p99")
                for cell in (
                    f"{found[q]['all_bars']:,}",
                    f"{min(found[q]['rounds']):,} - {max(found[q]['rounds']):,}",
                )
            ]
            live.add_row(side, way, *cells)
    console.print(live)
    for name, value in content["ratios"].items():
        console.print(f"{name:26}{'not measured' if value is None else f'{value:,.2f}':>14}")
