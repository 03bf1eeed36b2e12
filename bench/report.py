"""From what was measured to `results.json`: medians, ranges and the ratios of the table."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.live import Latencies, percentile
from bench.replay import Replayed

RESULTS: Final = Path("bench/results.json")
# A figure of each round, by the round's number.
Rounds = dict[int, float]


@dataclass
class Measured:
    """Everything measured in one run."""

    replays: dict[str, dict[int, Replayed]] = field(default_factory=dict)
    onnx_alone: dict[str, Rounds] = field(default_factory=dict)
    live: dict[str, Latencies] = field(default_factory=dict)
    cold_start_s: Rounds = field(default_factory=dict)
    same_predictions: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


Figure = Callable[[Measured], Rounds]


def rate(contender: str) -> Figure:
    """Bars a second of a replay."""
    return lambda run: {n: one.rate for n, one in run.replays.get(contender, {}).items()}


def cpu_us(contender: str) -> Figure:
    """CPU microseconds a bar of a replay."""
    return lambda run: {
        n: 1e6 * one.cpu_s / one.bars for n, one in run.replays.get(contender, {}).items()
    }


def live_s(side: str, gap: str, q: int) -> Figure:
    """Seconds at a percentile over the bars of all rounds, which stand as one round here."""
    return lambda run: {0: percentile(run.live[side][gap], q) / 1000} if side in run.live else {}


@dataclass(frozen=True)
class Ratio:
    """One figure over another one: the median over the rounds of what each round has of both.

    What a round measures lies minutes apart at most, and machines change their pace from one half
    hour to the next. `unit` is that of the figures.
    """

    meaning: str
    over: Figure
    under: Figure
    unit: str = "bars/s"

    def rounds(self, run: Measured) -> list[float]:
        """The ratio of each round that did not fail."""
        over, under = self.over(run), self.under(run)
        return [over[number] / under[number] for number in sorted(over.keys() & under.keys())]

    def medians(self, run: Measured) -> list[float]:
        """The medians of both figures; empty where one was not measured."""
        figures = [list(figure(run).values()) for figure in (self.over, self.under)]
        return [round(statistics.median(found), 4) for found in figures] if all(figures) else []


RATIOS: Final = {
    **{
        f"live_p{q}_vs_{side}": Ratio(
            f"live p{q} against Spark alone, {wait}",
            live_s("job", "3s", q),
            live_s(side, "3s", q),
            "s",
        )
        for side, wait in (
            ("tuned_passthrough", "same fetch wait"),
            ("passthrough", "Kafka's default settings"),
        )
        for q in (50, 99)
    },
    "live_minute_vs_3s": Ratio(
        "live p50, bars 70 s apart against 3 s",
        live_s("job", "70s", 50),
        live_s("job", "3s", 50),
        "s",
    ),
    "replay_vs_quix": Ratio(
        "replay against Quix Streams, one process a core", rate("job_lstm32"), rate("quix")
    ),
    "replay_vs_paper": Ratio(
        "replay against kafka-python and `keras predict`", rate("job_lstm32"), rate("paper")
    ),
    "replay_vs_onnx": Ratio(
        "replay, LSTM(50)x2, against ONNX Runtime alone",
        rate("job_lstm50x2"),
        lambda run: run.onnx_alone.get("lstm50x2", {}),
        "windows/s",
    ),
    "cores_2_vs_1": Ratio(
        "replay, two cores against one", rate("job_lstm32"), rate("job_one_core")
    ),
    "cpu_10000_vs_100": Ratio(
        "CPU a bar, 10,000 symbols against 100",
        cpu_us("job_many_symbols"),
        cpu_us("job_lstm32"),
        "µs",
    ),
}


def report(run: Measured, about: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the file; a ratio that this run did not measure is None."""
    by_round = {name: ratio.rounds(run) for name, ratio in RATIOS.items()}
    cold = list(run.cold_start_s.values())
    ratios = {name: median_or_none(rounds) for name, rounds in by_round.items()}
    return {
        "ratios": {**ratios, "cold_start_s": median_or_none(cold)},
        "ratios_by_round": {name: spread(rounds) for name, rounds in by_round.items() if rounds},
        "medians": {name: ratio.medians(run) for name, ratio in RATIOS.items()},
        "definitions": {
            **{name: f"{ratio.meaning} ({ratio.unit})" for name, ratio in RATIOS.items()},
            "cold_start_s": "seconds from `spark-submit` to the first prediction readable on Kafka",
        },
        "about": {**about, **machine()},
        "replay": {
            name: {
                "bars_per_s": spread(rate(name)(run).values()),
                "cpu_us_per_bar": spread(cpu_us(name)(run).values()),
                "bars_measured": [one.bars for one in found.values()],
                "seconds": [round(one.seconds, 2) for one in found.values()],
                "micro_batches": [one.micro_batches for one in found.values()],
            }
            for name, found in run.replays.items()
        },
        "onnx_alone_windows_per_s": {n: spread(v.values()) for n, v in run.onnx_alone.items()},
        "live_ms": {
            side: {
                gap: {f"p{q}": live_percentile(rounds, q) for q in (50, 99)}
                for gap, rounds in found.items()
            }
            for side, found in run.live.items()
        },
        "cold_start_s": spread(cold) if cold else None,
        "predictions_compared_with_ours": run.same_predictions,
        "failed": run.failed,
    }


def live_percentile(rounds: list[list[float]], q: int) -> dict[str, Any]:
    """Milliseconds over the bars of all rounds, and of each round."""
    each = [round(percentile([one], q)) for one in rounds]
    return {"all_bars": round(percentile(rounds, q)), "rounds": each}


def median_or_none(values: Sequence[float]) -> float | None:
    """To three digits."""
    return round(statistics.median(values), 3) if values else None


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
