"""Every program can be started in one way, and all of them stand in a table."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from click.testing import CliRunner

from conf.sections import Registry as RegistrySettings
from jobs.cli import COMMANDS, group
from jobs.machine.processes import PROJECT_DIR

RECIPES = re.findall(
    r"^([a-z-]+):.*\n\t@\$\(BIN\)/(candlecast|python -m) (\S+)",
    (PROJECT_DIR / "Makefile").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_how_it_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["candlecast", name])
    shown = CliRunner().invoke(
        typer.main.get_command(group), [name, "--help"], prog_name="candlecast"
    )
    assert shown.exit_code == 0, shown.output
    assert f"candlecast {name}" in shown.output


def test_the_list_of_commands_shows_each_with_its_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["candlecast", "--help"])
    shown = CliRunner().invoke(typer.main.get_command(group), ["--help"], prog_name="candlecast")
    for name, (_, purpose) in COMMANDS.items():
        assert re.search(rf"\b{name}\b.*{re.escape(purpose[:20])}", shown.output)


def test_the_stream_says_how_it_is_used() -> None:
    command = [sys.executable, "jobs/predict_stream.py", "--help"]
    env = {"PYTHONPATH": str(PROJECT_DIR), "PATH": ""}
    shown = subprocess.run(
        command, cwd=PROJECT_DIR, env=env, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert "usage" in shown.stdout.lower()


@pytest.mark.parametrize(("target", "how", "program"), RECIPES)
def test_make_starts_programs_that_exist(target: str, how: str, program: str) -> None:
    if how == "candlecast":
        assert program in COMMANDS
    else:
        path = PROJECT_DIR / program.replace(".", "/")
        assert program == "pytest" or path.is_dir() or path.with_suffix(".py").is_file()


def test_one_switch_says_where_everything_lies(champion_registry: RegistrySettings) -> None:
    place = str(Path(champion_registry.artifact_dir).parent)
    command = [sys.executable, "-m", "jobs.cli", "--warehouse", place, "models"]
    shown = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"1m-1\b.*champion", shown.stdout)
