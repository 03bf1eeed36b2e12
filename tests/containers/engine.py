"""A Docker engine and its Compose, as far as the check of docker-compose.yml needs them."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from jobs.machine.processes import PROJECT_DIR

COMPOSE_FILE: Final = PROJECT_DIR / "docker-compose.yml"
STANDINS: Final = Path(__file__).parent / "standins.sh"
PULL_S: Final = 120
# Heard SIGTERM, by itself or by what it runs in. Docker kills what takes longer than Compose's
# stop_grace_period, 30 s.
ENDED: Final = (0, 143)
ENDS_WITHIN_S: Final = 15
# Bars that need no network.
SYNTHETIC: Final = {"ingest": {"environment": {"CANDLECAST_INGEST__SOURCE": "synthetic"}}}


class Failed(subprocess.SubprocessError):
    """A command ended badly; the message is the end of what it said."""


def run(command: Sequence[str], limit_s: float = 60, **options: Any) -> str:
    """What a command prints; raises Failed or TimeoutExpired."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=limit_s, **options
    )
    if done.returncode:
        raise Failed(f"{' '.join(command[-4:])}: {done.stderr.strip()[-500:]}")
    return done.stdout


def succeeds(command: Sequence[str], limit_s: float = 60) -> bool:
    """Whether a command ends well in time."""
    try:
        run(command, limit_s)
    except (subprocess.SubprocessError, OSError):
        return False
    return True


def missing() -> str | None:
    """Why nothing can be run here; None where an engine answers."""
    if not shutil.which("docker") or not succeeds(["docker", "info"]):
        return "no Docker engine answers here"
    return None if compose_command() else "there is no Compose beside the engine"


def compose_command() -> list[str] | None:
    """Compose of this machine: the engine's plugin, or the program of its own."""
    found = (["docker", "compose"], ["docker-compose"])
    return next((one for one in found if succeeds([*one, "version"])), None)


class Compose:
    """The services of docker-compose.yml under a name of their own, without those left out."""

    def __init__(self, project: str, left_out: Sequence[str]) -> None:
        command = compose_command()
        assert command
        self._project = project
        self._folder = Path(tempfile.mkdtemp(prefix="candlecast-containers-"))
        more = self._folder / "more.json"
        services = {**SYNTHETIC, **{name: {"profiles": ["left-out"]} for name in left_out}}
        more.write_text(json.dumps({"services": services}))
        files = ["--file", str(COMPOSE_FILE), "--file", str(more)]
        self._command = [*command, "--project-name", project, *files]
        os.environ.setdefault("CANDLECAST_SPARK_SECRET", os.urandom(16).hex())

    def __call__(self, *arguments: str, limit_s: float = 120) -> str:
        """Run Compose with these arguments."""
        return run([*self._command, *arguments], limit_s, cwd=PROJECT_DIR)

    def container(self, service: str) -> str:
        """The id of the service's first container, running or not; asked without Compose, whose
        older one takes a second for each answer."""
        of_compose = {"project": self._project, "service": service}
        labels = (f"label=com.docker.compose.{name}={value}" for name, value in of_compose.items())
        filters = [part for label in labels for part in ("--filter", label)]
        (first, *_) = run(["docker", "ps", "--all", "--quiet", "--no-trunc", *filters]).split()
        return first

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine says of the service's first container."""
        found: list[dict[str, Any]] = json.loads(
            run(["docker", "inspect", self.container(service)])
        )
        return found[0]

    def inside(self, service: str, *command: str) -> str:
        """What a command prints in the service's first container."""
        return run(["docker", "exec", self.container(service), *command], 120)

    def healthy(self, service: str) -> bool:
        """Whether it runs and its health check holds."""
        state = self.inspect(service)["State"]
        return bool(state["Running"] and state["Health"]["Status"] == "healthy")

    def crash(self, service: str) -> None:
        """End its first process as the kernel would: what Docker ends itself stays ended."""
        os.kill(self.inspect(service)["State"]["Pid"], signal.SIGKILL)

    def ask_to_end(self, service: str) -> tuple[int, float]:
        """Stop its first container as Docker does; with what it ended, and after how many
        seconds."""
        container, start = self.container(service), time.monotonic()
        run(["docker", "stop", container])
        took_s = time.monotonic() - start
        return int(run(["docker", "inspect", "--format", "{{.State.ExitCode}}", container])), took_s

    def close(self) -> None:
        """Take everything down, with the volumes."""
        self("down", "--volumes", "--remove-orphans", limit_s=180)
        shutil.rmtree(self._folder)


def base_images() -> list[str]:
    """The images that docker-compose.yml and the Dockerfile take from elsewhere, in this order:
    one may be needed for the stand-in of the next."""
    lines = (PROJECT_DIR / "Dockerfile").read_text().splitlines()
    froms = {line.split()[1] for line in lines if line.startswith("FROM python")}
    services = yaml.safe_load(COMPOSE_FILE.read_text())["services"].values()
    return [*froms, *sorted({s["image"] for s in services if ":" in s["image"]})]


def provide(image: str, work: Path) -> str:
    """Have an image: "here", "pulled", "stand-in", or "not to be had"."""
    if succeeds(["docker", "image", "inspect", image]):
        return "here"
    if succeeds(["docker", "pull", "--quiet", image], PULL_S):
        return "pulled"
    if succeeds([str(STANDINS), str(work), image], 400):
        return "stand-in"
    return "not to be had"
