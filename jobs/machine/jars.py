"""Fetch the broker's jars, Spark's Kafka connector and the page's charts; check their hashes.

The connector's jars are linked into the folder of Spark's own, as in Spark's container images, so
that a plain `spark-submit` finds them without resolving packages at every start. The broker has a
class path of its own (`.jars/kafka`).
"""

import hashlib
import shlex
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pyspark

from conf.errors import MissingPrerequisite
from jobs.machine.java import BRIEF, java_command
from jobs.terminal.program import run_program

JARS_DIR: Final = Path(".jars")
LOCK_FILE: Final = Path("conf/jars.lock")
SPARK_SETTINGS: Final = ("spark-defaults.conf", "spark-env.sh", "log4j2.properties")
CHART_WHEEL: Final = "lightweight-charts==2.1"
CHART_FILE: Final = "lightweight-charts.js"
MODULES: Final = {
    "kafka": (
        ("org.apache.kafka", "kafka_2.13", "4.2.0"),
        ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.3"),  # or the broker logs nothing
    ),
    "spark": (
        ("org.apache.spark", "spark-sql-kafka-0-10_2.13", "4.2.0"),
        # Local files without a process for each `chmod`.
        ("com.globalmentor", "hadoop-bare-naked-local-fs", "0.1.0"),
    ),
}


def locked_hashes(lock_file: Path) -> dict[str, str]:
    """sha256 by `folder/name.jar`, as `conf/jars.lock` lists them."""
    rows = (line.split() for line in lock_file.read_text().splitlines())
    return {name: sha256 for sha256, name in rows}


def resolve(module: tuple[str, str, str], folder: Path) -> None:
    """Let Ivy, which Spark ships, copy a module and what it depends on into `folder`.

    Raises MissingPrerequisite where it can't.
    """
    (ivy,) = spark_jars_dir().glob("ivy-*.jar")
    with tempfile.TemporaryDirectory(dir=JARS_DIR) as there:
        # A cache of its own: halves left by others in a shared one make Ivy fail.
        command = [java_command(), *BRIEF, "-jar", str(ivy), "-cache", f"{there}/cache"]
        command += ["-dependency", *module, "-confs", "default"]
        command += ["-retrieve", f"{there}/jars/[artifact]-[revision].[ext]", "-warn"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stdout + done.stderr).strip().splitlines()[-1:]
            raise MissingPrerequisite(
                f"{':'.join(module)} could not be fetched from the Maven repository: {reason}"
            )
        for jar in Path(there, "jars").iterdir():
            jar.replace(folder / jar.name)


def spark_jars_dir() -> Path:
    """The folder of Spark's own jars in the installed package."""
    return Path(pyspark.__file__).parent / "jars"


def verify(folder: Path, hashes: dict[str, str]) -> None:
    """Keep the jars that the lock file lists, each with the listed hash; remove the others.

    Raises MissingPrerequisite for a jar that is absent or differs.
    """
    wanted = {Path(name).name: h for name, h in hashes.items() if name.startswith(folder.name)}
    for jar in folder.glob("*.jar"):
        if jar.name not in wanted:
            jar.unlink()
    for name, sha256 in wanted.items():
        jar = folder / name
        _require_hash(jar, sha256)


def _require_hash(file: Path, sha256: str) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "no such file"
    if found != sha256:
        raise MissingPrerequisite(f"{file}: expected sha256 {sha256}, found {found}")


def fetch_chart(folder: Path, sha256: str) -> None:
    """Take TradingView's lightweight-charts, one file of JavaScript, out of a Python wheel.

    The wheel's own code and what that depends on stay away. Raises MissingPrerequisite where the
    wheel can't be had, or holds another file.
    """
    file = folder / CHART_FILE
    if not file.exists():
        with tempfile.TemporaryDirectory() as there:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--dest", there, CHART_WHEEL]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = done.stderr.strip().splitlines()[-1:]
                raise MissingPrerequisite(f"{CHART_WHEEL} could not be fetched by pip: {reason}")
            (wheel,) = Path(there).glob("*.whl")
            folder.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(wheel) as packed:
                file.write_bytes(packed.read(f"lightweight_charts/js/{CHART_FILE}"))
    _require_hash(file, sha256)


def link_into_spark(jars_dir: Path, conf_dir: Path) -> None:
    """Link the connector into Spark's jars, and this project's settings to where Spark looks.

    File by file: a folder `pyspark/conf` with an `__init__.py` would hide the module of that name.
    """
    spark_home = spark_jars_dir().parent
    # As installed, it goes by SPARK_HOME, SPARK_CONF_DIR and whatever `python3` is on the path.
    submit = Path(sys.executable).parent / "spark-submit"
    python = shlex.quote(sys.executable)
    submit.unlink(missing_ok=True)  # it may be one file with that of a package cache
    submit.write_text(f'#!/bin/sh\nexec {python} -I -m conf.environment "$@"\n')
    submit.chmod(0o755)
    links = {spark_home / "jars" / jar.name: jar for jar in jars_dir.glob("*.jar")}
    links |= {spark_home / "conf" / name: conf_dir / name for name in SPARK_SETTINGS}
    for link, target in links.items():
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target.resolve())


def lacks(folder: Path, hashes: dict[str, str]) -> bool:
    """Whether a folder does not have what the lock file lists."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        verify(folder, hashes)
    except MissingPrerequisite:
        return True
    return False


def main() -> None:
    """Fetch side by side, check, link."""
    hashes = locked_hashes(LOCK_FILE)
    wanted = {JARS_DIR / name: modules for name, modules in MODULES.items()}
    lacking = [folder for folder in wanted if lacks(folder, hashes)]
    with ThreadPoolExecutor() as pool:
        if lacking:
            print("Fetching the jars of broker and stream (once) ...", flush=True)
        fetched = [pool.submit(resolve, one, at) for at in lacking for one in wanted[at]]
        fetched.append(pool.submit(fetch_chart, JARS_DIR / "web", hashes[f"web/{CHART_FILE}"]))
        for one in fetched:
            one.result()
    for folder in lacking:
        verify(folder, hashes)
    link_into_spark(JARS_DIR / "spark", Path("conf"))


if __name__ == "__main__":
    run_program(main)
