"""The user's environment decides nothing that is ours."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf.environment import of_spark, ours, pin
from conf.errors import ConfigurationError
from jobs.machine.processes import PROJECT_DIR

# A shell of someone who has a Spark, a Keras, an MLflow and a project of their own, and speaks
# Turkish, in which the small letter of I is not i.
HOSTILE = {
    "LC_ALL": "tr_TR.UTF-8",
    "LANG": "de_DE.UTF-8",
    "LANGUAGE": "tr",
    "TZ": "America/New_York",
    "SPARK_HOME": "/opt/spark-2.4",
    "SPARK_CONF_DIR": "/etc/spark",
    "SPARK_LOCAL_IP": "10.1.2.3",
    "SPARK_LOCAL_HOSTNAME": "nowhere.invalid",
    "SPARK_SUBMIT_OPTS": "-Dx=y",
    "HADOOP_CONF_DIR": "/etc/hadoop",
    "PYSPARK_PYTHON": "python2",
    "PYSPARK_DRIVER_PYTHON": "jupyter",
    "PYSPARK_SUBMIT_ARGS": "--master yarn pyspark-shell",
    "JAVA_TOOL_OPTIONS": "-Duser.language=tr -Dhttp.proxyHost=127.0.0.1",
    "_JAVA_OPTIONS": "-Xmx1m",
    "PYTHONHOME": "/opt/python2",
    "PYTHONSTARTUP": "/home/ada/.pythonrc",
    "KERAS_BACKEND": "jax",
    "KERAS_HOME": "/home/ada/.keras",
    "TF_USE_LEGACY_KERAS": "1",
    "MLFLOW_TRACKING_URI": "http://mlflow.invalid",
    "http_proxy": "http://proxy.invalid:3128",
    "HTTP_PROXY": "http://proxy.invalid:3128",
    "no_proxy": "example.org",
}


def test_what_a_shell_says_of_other_programs_is_taken_out_or_ours() -> None:
    made = ours({**HOSTILE, "HOME": "/home/ada", "MLFLOW_TRACKING_TOKEN": "known to ada alone"})
    assert made["HOME"] == "/home/ada"
    assert made["MLFLOW_TRACKING_TOKEN"] == "known to ada alone"
    assert made["LC_ALL"] == "C.UTF-8"
    assert made["TZ"] == "UTC"
    assert made["KERAS_BACKEND"] == "tensorflow"
    assert made["PYSPARK_PYTHON"] == made["PYSPARK_DRIVER_PYTHON"] == sys.executable
    assert made["no_proxy"] == made["NO_PROXY"] == "example.org,127.0.0.1,localhost,::1"
    assert made["http_proxy"] == HOSTILE["http_proxy"]
    same = {name for name, value in HOSTILE.items() if made.get(name) == value}
    assert same == {"LANG", "http_proxy", "HTTP_PROXY"}


def test_a_cluster_keeps_what_names_it() -> None:
    alone = of_spark(HOSTILE, ["jobs/predict_stream.py"])
    assert alone["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert "HADOOP_CONF_DIR" not in alone
    user = {**HOSTILE, "PYSPARK_PYTHON": "./environment/bin/python"}
    on_cluster = of_spark(user, ["--master", "yarn", "jobs/predict_stream.py"])
    assert on_cluster["SPARK_LOCAL_IP"] == "10.1.2.3"
    assert on_cluster["HADOOP_CONF_DIR"] == "/etc/hadoop"
    assert on_cluster["PYSPARK_PYTHON"] == "./environment/bin/python"
    assert on_cluster["SPARK_HOME"] == alone["SPARK_HOME"] != HOSTILE["SPARK_HOME"]
    assert "SPARK_CONF_DIR" not in on_cluster


def test_java_puts_its_temporary_files_where_python_does() -> None:
    found = of_spark({**HOSTILE, "TMPDIR": "/var/own place"}, ["jobs/predict_stream.py"])
    assert found["SPARK_LOCAL_DIRS"] == "/var/own place"
    assert found["SPARK_SUBMIT_OPTS"] == '-Djava.io.tmpdir="/var/own place"'


@pytest.mark.parametrize("name", ["SPARK_HOME", "SPARK_CONF_DIR"])
def test_another_spark_that_has_started_us_is_refused_by_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {"PYSPARK_GATEWAY_PORT": "1", name: "/opt/spark"})
    with pytest.raises(ConfigurationError, match=f"{name}=/opt/spark is of another Spark"):
        pin()


def test_our_own_spark_is_ours_where_its_archive_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = Path(of_spark({}, [])["SPARK_HOME"])
    monkeypatch.syspath_prepend(str(home / "python/lib/pyspark.zip"))
    monkeypatch.delitem(sys.modules, "pyspark", raising=False)
    monkeypatch.setattr(os, "environ", {"PYSPARK_GATEWAY_PORT": "1", "SPARK_HOME": str(home)})
    pin()


def run_python(code: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_a_program_does_not_import_the_modules_of_another_project(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").write_text("raise RuntimeError('of another project')")
    code = "import conf.environment as e; e.pin(); import model; print(model.__file__)"
    found = run_python(code, {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]})
    assert "of another project" not in found
    assert found.strip().endswith("model/__init__.py")


def test_a_locale_of_another_encoding_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-9")
    with pytest.raises(ConfigurationError, match="LC_ALL or LANG"):
        pin()


def test_the_archive_that_spark_submit_searches_is_of_the_same_spark() -> None:
    found = importlib.util.find_spec("pyspark")
    assert found is not None
    home = Path(str(found.origin)).parent
    submitted = {"PYTHONPATH": f"{home}/python/lib/pyspark.zip", "PYSPARK_GATEWAY_PORT": "1"}
    code = "from conf.environment import pin; pin()"
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **submitted, "SPARK_HOME": str(home)},
        cwd=PROJECT_DIR,
        check=True,
    )
