"""The pages say what the code has: paths, commands, targets, settings and names that exist."""

import re
from functools import cache
from pathlib import Path

import pytest

from conf.settings import Settings
from jobs.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = (
    *("conf", "ingest", "model", "spark", "store", "stream", "dashboard", "jobs", "bench"),
    *("tests", "sql", "deploy", "docs", "examples", "data"),
)
OF_OTHERS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TIMESTAMP_MICROS"}
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", FENCED.sub("", page.read_text()))


def code(page: Path) -> list[str]:
    return [*inline_code(page), *FENCED.findall(page.read_text())]


@cache
def settings() -> dict[str, set[str]]:
    return {
        name: set(field.annotation.model_fields)  # type: ignore[union-attr]
        for name, field in Settings.model_fields.items()
        if hasattr(field.annotation, "model_fields")
    }


@cache
def product_text() -> str:
    kinds = {".py", ".sql", ".toml", ".conf", ".yml"}
    files = [file for room in FOLDERS for file in (ROOT / room).rglob("*.*")]
    return "\n".join(file.read_text() for file in files if file.suffix in kinds)


def is_module(dotted: str) -> bool:
    place = ROOT / dotted.replace(".", "/")
    return place.with_suffix(".py").is_file() or place.is_dir()


def test_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


@every_page
def test_page_links_to_what_exists(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", FENCED.sub("", page.read_text()))
    missing = [to for to in links if "://" not in to and not (page.parent / to).exists()]
    assert missing == []


@every_page
def test_page_names_paths_that_exist(page: Path) -> None:
    # A name in capitals, or `example`, stands for one that the reader chooses.
    path = re.compile(rf"(?:{'|'.join(FOLDERS)})/[a-z0-9_.*/-]*")
    named = [text for text in inline_code(page) if path.fullmatch(text)]
    file = re.compile(
        rf"(?<![\w./])(?:{'|'.join(FOLDERS)})/[a-z0-9_/.-]*\.(?:py|sql|toml|conf|yml|gz)"
    )
    named += file.findall("\n".join(FENCED.findall(page.read_text())))
    missing = {text for text in named if not any(ROOT.glob(text.rstrip("/")))}
    gone = missing if page.name == "CHANGELOG.md" else set()
    assert missing - gone - {"ingest/sources/example.py"} == set()


@every_page
def test_page_names_commands_that_exist(page: Path) -> None:
    named = re.findall(r"(?:^|[\s/;&(])candlecast ([a-z]+)", "\n".join(code(page)), re.MULTILINE)
    assert set(named) - set(COMMANDS) == set()


@every_page
def test_page_names_targets_that_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"\bmake ([a-z][a-z-]*)", "\n".join(code(page)))
    assert set(named) - targets == set()


@every_page
def test_page_names_modules_that_exist(page: Path) -> None:
    named = re.findall(r"python -m ([a-z_.]+)", "\n".join(code(page)))
    missing = [name for name in named if name.split(".")[0] in FOLDERS and not is_module(name)]
    # What is gone may be named where its successor is.
    assert [name for name in missing if page.name != "CHANGELOG.md"] == []


@every_page
def test_page_names_settings_that_exist(page: Path) -> None:
    text = "\n".join(code(page))
    named = [(a.lower(), b.lower()) for a, b in re.findall(r"CANDLECAST_([A-Z]+)__([A-Z_]+)", text)]
    for part in inline_code(page):
        dotted = re.fullmatch(r"([a-z]+)\.([a-z_]+)(?:\.[a-z0-9]+)?", part)
        if dotted and dotted[1] in settings() and not is_module(".".join(dotted.groups())):
            named.append((dotted[1], dotted[2]))
    missing = [(a, b) for a, b in named if b not in settings().get(a, ()) and a != "section"]
    assert missing == []
    sections = {a for part in inline_code(page) for a in re.findall(r"^\[([a-z]+)[\].]", part)}
    assert sections - settings().keys() == set()


@every_page
def test_page_names_identifiers_that_exist(page: Path) -> None:
    # Notes of the laboratory also name what was tried and left.
    if page.parent.name == "lab" or page.name == "CHANGELOG.md":
        return
    identifier = re.compile(r"[A-Za-z]+(?:_[A-Za-z0-9]+)+|[A-Z][a-z]+(?:[A-Z][a-z]+)+")
    named = {text for text in inline_code(page) if identifier.fullmatch(text)}
    named -= {text for text in named if text.startswith(("NAME_", "EXAMPLE_"))}
    missing = {name for name in named if name.removesuffix("_total") not in product_text()}
    assert missing - OF_OTHERS == set()
