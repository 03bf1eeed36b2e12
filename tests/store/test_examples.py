"""What ships beside the code holds too: the notebook runs, the dashboards name real metrics."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from ingest.metrics import IngestMetrics
from jobs.scoring.metrics import ScoreMetrics
from jobs.scoring.scoreboard import update_scores
from stream.metrics import StreamMetrics
from tests.tables import bars, guesses, predictions, random_walk, write

ROOT = Path(__file__).parent.parent.parent
METRIC = re.compile(r"candlecast_\w+")


def test_the_notebook_runs_over_a_warehouse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = random_walk(300, seed=1)
    write(tmp_path, "bars", bars(close))
    write(tmp_path, "predictions", predictions(close, guesses(close, seed=2)))
    update_scores(tmp_path)
    monkeypatch.setenv("CANDLECAST_WAREHOUSE__DIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{Path('/usr/bin')}")
    notebook = nbformat.read(ROOT / "examples" / "scores.ipynb", as_version=4)
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(ROOT)}}).execute()
    printed = "".join(str(cell.get("outputs")) for cell in notebook.cells)
    assert "BTC-USD: skill" in printed
    assert "299 predictions" in printed


@pytest.mark.parametrize("file", ["grafana/candlecast.json", "prometheus/alerts.yml"])
def test_every_metric_that_is_looked_at_exists(file: str) -> None:
    text = (ROOT / "deploy" / file).read_text()
    parsed = json.loads(text) if file.endswith("json") else yaml.safe_load(text)
    assert parsed
    known = {
        f"{family.name}{suffix}"
        for metrics in (StreamMetrics(), ScoreMetrics(), IngestMetrics())
        for family in metrics.registry.collect()
        for suffix in ("", "_total")
    }
    assert set(METRIC.findall(text)) <= known


def test_every_expression_of_the_dashboard_has_a_panel_of_its_own_place() -> None:
    panels = json.loads((ROOT / "deploy" / "grafana" / "candlecast.json").read_text())["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
