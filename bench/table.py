"""`make bench-table`: the table of docs/performance.md, from `bench/results.json`."""

import json
from pathlib import Path
from typing import Any, Final

from bench.report import RATIOS, RESULTS
from conf.errors import MissingPrerequisite
from jobs.terminal.program import run_program

PAGE: Final = Path("docs/performance.md")
BEGIN: Final = "<!-- bench: made by `make bench-table` -->"
END: Final = "<!-- /bench -->"


def main() -> None:
    """Replace what stands between the markers."""
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise MissingPrerequisite(f"{PAGE} has no {BEGIN} ... {END}")
    lines = table(json.loads(RESULTS.read_text()))
    PAGE.write_text(f"{before}{BEGIN}\n{lines}{END}{after}")


def table(results: dict[str, Any]) -> str:
    """The table as Markdown: each ratio, and the two medians that it is made of."""
    lines = ["| | ratio | of these medians |", "|---|---:|---|"]
    for name, ratio in RATIOS.items():
        value, medians = results["ratios"][name], results["medians"][name]
        made_of = f"{' to '.join(map(number, medians))} {ratio.unit}" if medians else ""
        lines.append(f"| {ratio.meaning} | {shown(value, 'x')} | {made_of} |")
    cold = results["cold_start_s"]
    found = f"{number(cold['min'])} to {number(cold['max'])} s" if cold else ""
    median = shown(results["ratios"]["cold_start_s"], " s")
    lines.append(f"| `spark-submit` to the first prediction | {median} | {found} |")
    return "\n".join(lines) + "\n"


def shown(value: float | None, unit: str) -> str:
    """A figure in bold."""
    return "not measured" if value is None else f"**{number(value)}{unit}**"


def number(value: float) -> str:
    """Three digits or so.

    >>> [number(value) for value in (2143.2, 11.57, 0.992)]
    ['2,143', '11.6', '0.99']
    """
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


if __name__ == "__main__":
    run_program(main)
