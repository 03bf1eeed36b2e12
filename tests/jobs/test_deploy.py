"""Compose file and unit files: what they name exists, and they react as the exit codes ask."""

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.settings import load_settings
from jobs.cli import COMMANDS
from jobs.machine.jars import MODULES
from jobs.machine.processes import PROJECT_DIR
from jobs.run import FOR_A_PERSON

COMPOSE_FILE = PROJECT_DIR / "docker-compose.yml"
UNITS = sorted((PROJECT_DIR / "deploy" / "systemd").glob("*.service"))


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    return found


def unit(file: Path) -> ConfigParser:
    parsed = ConfigParser(interpolation=None, strict=False)
    parsed.optionxform = str  # type: ignore[assignment]
    parsed.read(file)
    return parsed


def commands() -> dict[str, str]:
    """What is started, by service or unit."""
    ours = {n: s for n, s in services().items() if s["image"].startswith("candlecast")}
    composed = {name: service["command"] for name, service in ours.items()}
    units = {f.stem: unit(f)["Service"]["ExecStart"].rpartition("/bin/")[2] for f in UNITS}
    return composed | units


@pytest.mark.parametrize(("name", "command"), commands().items())
def test_what_is_started_exists(name: str, command: str) -> None:
    program, *arguments = command.split()
    if program == "candlecast":
        assert arguments[0] in COMMANDS
    elif program == "python":
        assert (PROJECT_DIR / f"{arguments[1].replace('.', '/')}.py").is_file()
    elif program == "spark-submit":
        assert (PROJECT_DIR / arguments[-1]).is_file()
    else:
        assert program == "spark-class"
        assert re.fullmatch(r"org\.apache\.spark\.deploy\.\w+\.\w+", arguments[0])


@pytest.mark.parametrize("service", services())
def test_every_variable_of_compose_is_a_setting(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_settings.cache_clear()
    given = services()[service].get("environment", {})
    for name, value in given.items():
        if name.startswith("CANDLECAST_"):
            monkeypatch.setenv(name, str(value))
    load_settings()
    load_settings.cache_clear()


def test_compose_runs_the_versions_that_this_project_is_tested_with() -> None:
    lock = (PROJECT_DIR / "requirements.lock").read_text()
    (mlflow,) = re.findall(r"^mlflow-skinny==(\S+)", lock, re.MULTILINE)
    assert services()["mlflow"]["image"].endswith(f":v{mlflow}")
    kafka = next(version for _, name, version in MODULES["kafka"] if name.startswith("kafka_"))
    assert services()["kafka"]["image"].endswith(f":{kafka}")


def test_compose_publishes_pages_to_this_machine_alone() -> None:
    ports = {name: one["ports"] for name, one in services().items() if "ports" in one}
    assert set(ports) == {"dashboard", "mlflow", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for listed in ports.values() for port in listed)


def test_in_compose_who_need_not_speak_with_each_other_cannot() -> None:
    members: dict[str, set[str]] = {}
    for name, service in services().items():
        for network in service["networks"]:  # without one it would be in everyone's
            members.setdefault(network, set()).add(name)
    assert members["kafka"] == {"kafka", "ingest", "stream", "dashboard"}
    assert members["spark"] == {"spark-master", "spark-worker", "stream", "kafka"}
    assert services()["spark-worker"]["networks"] == ["spark"], "the master has to reach it"
    networks = yaml.safe_load(COMPOSE_FILE.read_text())["networks"]
    inside = {name for name, network in networks.items() if network and network["internal"]}
    assert inside == {"kafka", "spark", "metrics"}
    assert members["outside"] | members["pages"] <= set(services()) - {"kafka", "spark-master"}


def test_in_compose_nothing_is_open_by_default() -> None:
    environments = {name: one.get("environment", {}) for name, one in services().items()}
    for name in ("spark-master", "spark-worker", "stream"):
        assert environments[name]["CANDLECAST_SPARK_SECRET"] is None, "from the environment alone"
    assert environments["grafana"]["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    hosts = re.findall(r'--allowed-hosts "(.*?)"', services()["mlflow"]["command"])
    assert hosts == ["localhost:*,127.0.0.1:*"]


def test_each_service_of_compose_comes_back_and_is_looked_at() -> None:
    for name, service in services().items():
        assert service["restart"] == "unless-stopped", name
        assert service["stop_grace_period"] == "30s", name
        (looks,) = {service["healthcheck"]["test"][1]}
        assert looks in ("bash", "pgrep", "python3", "wget"), "a JVM takes a third of a core"
        assert service["logging"]["options"]["max-file"], name


def test_each_image_is_built_once() -> None:
    built = [one["image"] for one in services().values() if "build" in one]
    used = {one["image"] for one in services().values() if ":" not in one["image"]}
    assert sorted(built) == sorted(used) == ["candlecast", "candlecast-train"]


def test_what_trains_has_the_image_that_can() -> None:
    trains = {name for name, one in services().items() if one["image"] == "candlecast-train"}
    assert trains == {"score", "retrain"}


def test_no_code_is_installed_before_the_packages_of_an_image() -> None:
    lines = (PROJECT_DIR / "Dockerfile").read_text().splitlines()
    packages = max(n for n, line in enumerate(lines) if "install.sh python3" in line)
    code = next(n for n, line in enumerate(lines) if line.startswith("COPY") and " . ." in line)
    assert packages < code
    assert "USER candlecast" in lines


@pytest.mark.parametrize("service", ["spark-master", "spark-worker"])
def test_no_part_of_the_cluster_starts_without_the_secret(service: str, tmp_path: Path) -> None:
    entry = [part.replace("$$", "$") for part in services()[service]["entrypoint"]]
    entry[2] = entry[2].replace("/tmp/", f"{tmp_path}/")
    command = [*entry, "echo", "started"]
    refused = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "CANDLECAST_SPARK_SECRET: set it in .env" in refused.stderr

    given = {"CANDLECAST_SPARK_SECRET": "a b%s"}
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert done.stdout == f"started --properties-file {tmp_path}/spark.conf\n"
    assert "a b%s" not in done.stdout
    conf = tmp_path / "spark.conf"
    assert "spark.authenticate.secret a b%s\n" in conf.read_text()
    assert conf.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.stem)
def test_a_unit_restarts_unless_a_person_has_to_act(file: Path) -> None:
    service = unit(file)["Service"]
    assert service["Restart"] == "on-failure"
    never = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert never == set(FOR_A_PERSON)


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="needs docker-compose")
def test_compose_itself_takes_the_file() -> None:
    command = ["docker-compose", "--file", str(COMPOSE_FILE), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_itself_takes_the_units(tmp_path: Path) -> None:
    for file in (PROJECT_DIR / "deploy" / "systemd").iterdir():
        here = file.read_text().replace("/opt/candlecast", str(PROJECT_DIR))
        (tmp_path / file.name).write_text(here.replace("User=candlecast", "User=root"))
    files = [str(file) for file in sorted(tmp_path.iterdir())]
    done = subprocess.run(
        ["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.stem)
def test_a_unit_has_our_locale_where_systemd_has_none(file: Path) -> None:
    assert "Environment=LC_ALL=C.UTF-8" in file.read_text()
