"""From what was measured to `results.json`: medians, ranges and the ratios of the table."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.live import PASSTHROUGHS, Latencies, percentile
from bench.replay import Replayed

RESULTS: Final = Path("bench/results.json")
# How the ratios are made, for those who read the file. Those of `ratios_by_round` are medians over
# the rounds of one round's ratio: what a round measures lies minutes apart at most, and machines
# change their pace from one half hour to the next.
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


# A figure of each round, by the round's number.
Rounds = dict[int, float]


@dataclass
class Measured:
    """Everything measured in one run; by round, or as a list over the rounds."""

    replays: dict[str, dict[int, Replayed]] = field(default_factory=dict)
    onnx_alone: dict[str, Rounds] = field(default_factory=dict)
    live: dict[str, Latencies] = field(default_factory=dict)
    cold_start_s: list[float] = field(default_factory=list)
    same_predictions: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def rates(self, contender: str) -> Rounds:
        """Bars a second."""
        return {number: one.rate for number, one in self.replays.get(contender, {}).items()}

    def cpu_us(self, contender: str) -> Rounds:
        """CPU microseconds a bar."""
        found = self.replays.get(contender, {})
        return {number: 1e6 * one.cpu_s / one.bars for number, one in found.items()}

    def live_ms(self, side: str, way: str, q: float) -> float | None:
        """A percentile over all bars; None where it was not measured."""
        found = self.live.get(side)
        return percentile(found[way], q) if found else None


def ratios_by_round(run: Measured) -> dict[str, list[float]]:
    """Of the figures of the table those that each round has one of; failed rounds have none."""
    ours = run.rates("job_lstm32")
    pairs = {
        "replay_vs_quix": (ours, run.rates("quix")),
        "replay_vs_paper": (ours, run.rates("paper")),
        "replay_vs_onnx": (run.rates("job_lstm50x2"), run.onnx_alone.get("lstm50x2", {})),
        "cpu_10000_vs_100": (run.cpu_us("job_many_symbols"), run.cpu_us("job_lstm32")),
        "cores_2_vs_1": (ours, run.rates("job_one_core")),
    }
    return {
        name: [over[number] / under[number] for number in sorted(over.keys() & under.keys())]
        for name, (over, under) in pairs.items()
    }


def ratios(run: Measured) -> dict[str, float | None]:
    """The figures of the table; None for what this run did not measure."""
    found: dict[str, float | None] = {
        name: statistics.median(rounds) if rounds else None
        for name, rounds in ratios_by_round(run).items()
    }
    for side in PASSTHROUGHS:
        for q in (50, 99):
            passed = run.live_ms(side, "3s", q)
            found[f"live_p{q}_vs_{side}"] = _over(run.live_ms("job", "3s", q), passed)
    found["live_minute_vs_3s"] = _over(run.live_ms("job", "70s", 50), run.live_ms("job", "3s", 50))
    found["cold_start_s"] = statistics.median(run.cold_start_s) if run.cold_start_s else None
    in_order = {name: found[name] for name in DEFINITIONS}
    return {name: None if value is None else round(value, 3) for name, value in in_order.items()}


def _over(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours / theirs


def report(run: Measured, about: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the file."""
    return {
        "ratios": ratios(run),
        "ratios_by_round": {
            name: spread(rounds) for name, rounds in ratios_by_round(run).items() if rounds
        },
        "definitions": DEFINITIONS,
        "about": {**about, **machine()},
        "replay": {
            name: {
                "bars_per_s": spread(run.rates(name).values()),
                "cpu_us_per_bar": spread(run.cpu_us(name).values()),
                "bars_measured": [one.bars for one in found.values()],
                "seconds": [round(one.seconds, 2) for one in found.values()],
                "micro_batches": [one.micro_batches for one in found.values()],
            }
            for name, found in run.replays.items()
        },
        "onnx_alone_windows_per_s": {n: spread(v.values()) for n, v in run.onnx_alone.items()},
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
    inner = (
        "ratios_by_round",
        "replay",
        "onnx_alone_windows_per_s",
        "live_ms",
        "predictions_compared_with_ours",
    )
    return {
        **before,
        "ratios": {name: known.get(name, before["ratios"].get(name)) for name in now["ratios"]},
        "definitions": now["definitions"],
        "about": about,
        **{name: {**before[name], **now[name]} for name in inner},
        "cold_start_s": now["cold_start_s"] or before["cold_start_s"],
        "failed": [*before["failed"], *now["failed"]],
    }


def spread(values: Iterable[float]) -> dict[str, Any]:
    """Median, range and each round's value."""
    found = list(values)
    digits = 3 if max(found) < 10 else 2 if max(found) < 1_000 else 0
    kept = [round(value, digits) for value in found]
    return {
        "median": round(statistics.median(found), digits),
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
        rounds = content["ratios_by_round"].get(name)
        bounds = f"   {rounds['min']:,.2f} - {rounds['max']:,.2f}" if rounds else ""
        shown = "not measured" if value is None else f"{value:,.2f}"
        console.print(f"{name:32}{shown:>14}{bounds}")
