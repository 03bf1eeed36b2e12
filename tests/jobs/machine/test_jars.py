"""What `make install` puts where Spark and Python look."""

import os
import subprocess
import sys

from jobs.machine.jars import spark_jars_dir


def test_python_imports_spark_as_installed_and_not_from_zips_of_its_source() -> None:
    spark_home = spark_jars_dir().parent
    named_by_spark = [
        *(spark_home / "python/lib").glob("*.zip"),
        *(spark_home / "jars").glob("spark-core_*.jar"),
    ]
    assert len(named_by_spark) == 3
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, pyspark; print(pyspark.__file__, *sys.path, sep='\\n')",
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, named_by_spark))},
        capture_output=True,
        text=True,
        check=True,
    )
    imported_from, *path = done.stdout.splitlines()
    assert imported_from == str(spark_home / "__init__.py")
    assert not set(path) & set(map(str, named_by_spark))
