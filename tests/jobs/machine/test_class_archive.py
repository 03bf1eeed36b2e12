"""The archive of classes that `make install` makes is what starts use."""

import os
import subprocess
import sys
from pathlib import Path

from jobs.machine.class_archive import ARCHIVE
from jobs.machine.processes import PROJECT_DIR

SESSION = """
from pyspark.sql import SparkSession
SparkSession.builder.getOrCreate().range(3).count()
"""


def test_a_start_takes_its_classes_from_the_archive(tmp_path: Path) -> None:
    assert ARCHIVE.exists()
    program, log = tmp_path / "session.py", tmp_path / "classes"
    program.write_text(SESSION)
    submit = str(Path(sys.executable).parent / "spark-submit")
    options = {"SPARK_SUBMIT_OPTS": f"-Xlog:class+load:file={log}"}
    done = subprocess.run(
        [submit, str(program)],
        env={**os.environ, **options, "PYSPARK_PYTHON": sys.executable},
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    spark = [line for line in log.read_text().splitlines() if " org.apache.spark." in line]
    archived = [line for line in spark if "shared objects file (top)" in line]
    from_jars = [line for line in spark if "source: file:" in line]
    assert len(archived) > 10 * len(from_jars)
    assert archived
    assert "[cds" not in done.stdout
