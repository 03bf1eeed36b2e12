"""An installation elsewhere: `pip install .[train]` into an environment that has nothing else."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from jobs.machine.pack import build_code
from jobs.machine.processes import PROJECT_DIR
from tests import tables
from tests.synthetic import random_series, write_file

UV: Final = Path(sys.executable).parent / "uv"
READ: Final = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").getOrCreate()
spark.read.parquet(sys.argv[1]).createOrReplaceTempView("bars")
print("rows", spark.sql("SELECT count(*) AS n FROM bars").first().n)
"""


def run(command: list[str | Path], folder: Path, **environment: str) -> str:
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(folder), **environment}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a clean environment, from what `make test` has fetched; no network."""
    if not UV.exists():
        pytest.skip("this environment was not made by `make install`")
    folder = tmp_path_factory.mktemp("elsewhere")
    build_code(folder)
    (wheel,) = folder.glob("candlecast-*.whl")
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    install = [UV, "pip", "install", "--quiet", "--offline", "--no-config"]
    # As conf/install.sh has built it: PySpark is one wheel in the cache for one way of building.
    install += ["--no-build-isolation", "--config-setting=--build-option=--compression=stored"]
    install += ["--python", folder / "env"]
    lock = (PROJECT_DIR / "requirements-train.lock").read_text()
    # That one `pip` has installed, so that it is not in the cache; nothing imports it.
    (folder / "train.lock").write_text(re.sub(r"^setuptools==(.*\\\n)*.*\n", "", lock, flags=re.M))
    locked = ["--no-deps", "--require-hashes", "-r", folder / "train.lock"]
    done = subprocess.run([*install, *locked], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"not all packages are in uv's cache: {done.stderr.strip()[-200:]}")
    subprocess.run([*install, "--no-deps", wheel], check=True)
    return folder / "env" / "bin"


CERT: Final = "SSL_CERT_FILE=/company.pem"


@pytest.mark.parametrize(
    ("given", "configured", "expected"),
    [
        ({"PIP_CERT": "/company.pem"}, "", CERT),
        ({}, "global.cert=/company.pem", CERT),
        ({"SSL_CERT_FILE": "/company.pem", "PIP_CERT": "/other.pem"}, "", CERT),
        ({}, "global.proxy=proxy:3128", "HTTPS_PROXY=proxy:3128"),
        ({"PIP_INDEX_URL": "https://index/simple"}, "", "UV_DEFAULT_INDEX=https://index/simple"),
    ],
)
def test_uv_trusts_and_asks_whom_pip_does(
    tmp_path: Path, given: dict[str, str], configured: str, expected: str
) -> None:
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    name, _, value = configured.partition("=")
    pip = f'for last; do :; done; [ "$last" = "{name}" ] && echo "{value}"'
    for file, text in (("uv", "env"), ("python", pip)):
        (programs / file).write_text(f"#!/bin/sh\n{text}\n")
        (programs / file).chmod(0o755)
    install = ["/bin/sh", PROJECT_DIR / "conf" / "install.sh", "python3", "any.lock"]
    assert expected in run(install, tmp_path, **given).splitlines()


def test_the_programs_start(elsewhere: Path, tmp_path: Path) -> None:
    assert "start" in run([elsewhere / "candlecast", "--help"], tmp_path)


def test_the_shipped_model_comes_with_it(elsewhere: Path, tmp_path: Path) -> None:
    code = "from model.shipped import SHIPPED_DIR; print(SHIPPED_DIR / '1m' / 'model.onnx')"
    place = run([elsewhere / "python", "-c", code], tmp_path).strip()
    assert place.startswith(str(elsewhere.parent))
    assert Path(place).is_file()


def test_plain_spark_submit_trains(elsewhere: Path, tmp_path: Path) -> None:
    write_file(tmp_path / "bars.csv", random_series(1500, seed=11, momentum=0.4))
    small = {"MAX_EPOCHS": "1", "MEMBERS": "2", "UNITS": "4"}
    of_bars = ("--data", "bars.csv", "--symbol", "BTC-USD", "--allow-unproven")
    said = run(
        [elsewhere / "spark-submit", PROJECT_DIR / "jobs" / "train.py", *of_bars],
        tmp_path,
        CANDLECAST_HOME=str(tmp_path / "home"),
        **{f"CANDLECAST_TRAINING__{name}": value for name, value in small.items()},
    )
    assert "1m-1" in said
    assert json.loads(next((tmp_path / "home" / "models").glob("*/manifest.json")).read_text())


def test_spark_sql_reads_the_bare_files(elsewhere: Path, tmp_path: Path) -> None:
    tables.write(tmp_path, "bars", tables.bars(tables.random_walk(50, seed=1)))
    said = run([elsewhere / "python", "-c", READ, tmp_path / "bars"], tmp_path)
    assert "rows 50" in said
