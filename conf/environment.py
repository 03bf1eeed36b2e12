"""What the environment of our programs holds, whatever the user's shell says.

A variable for another Spark, Python, Java, Keras or MLflow of the user decides nothing here: it is
set to ours or taken out, for a program itself (`pin`), for what it starts (`ours`), and for Spark
(`python -m conf.environment ARGUMENTS` becomes `spark-submit ARGUMENTS`).
"""

import os
import sys
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from conf.errors import ConfigurationError

# Texts are UTF-8 and numbers have points, in Python and Java; Spark hands times to Python in the
# machine's zone, and ours are UTC.
_LOCALE: Final = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "TZ": "UTC"}
# No `keras.json` is read or written. TensorFlow's notes on the processor are no news to anyone;
# oneDNN rounds by the load of the machine.
KERAS: Final = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": os.devnull,
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_REMOVED: Final = (
    *("LANGUAGE", "CLASSPATH", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"),
    *("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONIOENCODING", "PYTHONCASEOK"),
    "PYTHONDONTWRITEBYTECODE",  # each start of a program would compile for six seconds
)
_REMOVED_BEGINNINGS: Final = (
    *("SPARK_", "PYSPARK_", "HADOOP_", "YARN_", "HIVE_"),
    *("KERAS_", "TF_", "XLA_", "MLFLOW_"),
)
# How the user proves to be one, which only the user knows.
_KEPT: Final = (
    *("HADOOP_USER_NAME", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
    *("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_SERVER_CERT_PATH"),
    *("MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_TRACKING_INSECURE_TLS"),
)
# Of a cluster, where the command line names one.
_OF_A_CLUSTER: Final = ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_LOCAL_IP")


def ours(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that we start from one of which the user's is a part.

    >>> ours({"SPARK_HOME": "/opt/spark", "LC_ALL": "tr_TR", "HOME": "/home/ada"})["LC_ALL"]
    'C.UTF-8'
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEPT or not (name in _REMOVED or name.startswith(_REMOVED_BEGINNINGS))
    }
    python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    return {**kept, **_LOCALE, **KERAS, **python, **_direct(environ)}


def pin() -> None:
    """Make the environment of this process ours; called by a program before all else.

    Raises ConfigurationError where the process has begun with an encoding that is not UTF-8.
    """
    encoding = sys.getfilesystemencoding().replace("-", "")
    if encoding.lower() != "utf8":
        raise ConfigurationError(
            f"the locale of LC_ALL or LANG is of {encoding}, expected UTF-8; set LC_ALL=C.UTF-8"
        )
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        _require_our_spark()
        pinned = {**os.environ, **_LOCALE, **KERAS, **_direct(os.environ)}
    else:
        pinned = {**ours(os.environ), "SPARK_LOCAL_IP": LOOPBACK[0]}
        _forget_path(os.environ.get("PYTHONPATH", ""))
    for name in os.environ.keys() - pinned.keys():
        del os.environ[name]
    os.environ.update(pinned)
    time.tzset()


def _forget_path(text: str) -> None:
    """Common names, such as `conf` and `model`, are ours: not those of another project."""
    own = Path(__file__).parent.parent
    foreign = {Path(name).resolve() for name in text.split(os.pathsep) if name} - {own}
    sys.path[:] = [name for name in sys.path if not name or Path(name).resolve() not in foreign]


def _require_our_spark() -> None:
    """Under `spark-submit`, which was started before us: raises ConfigurationError if it is not
    this Python's, or has other settings."""
    home = _spark_home()
    for name, wanted in {"SPARK_HOME": home, "SPARK_CONF_DIR": home / "conf"}.items():
        found = os.environ.get(name)
        if found and Path(found).resolve() != wanted.resolve():
            raise ConfigurationError(
                f"{name}={found} is of another Spark, expected {wanted}; unset it, or start "
                f"{Path(sys.executable).parent / 'spark-submit'}"
            )


def _spark_home() -> Path:
    # Not where `import pyspark` finds it: Spark puts an archive of the same on the driver's path.
    home = Path(sysconfig.get_path("purelib")) / "pyspark"
    if not home.is_dir():
        raise ConfigurationError(f"{sys.executable} has no pyspark in {home}; run `make install`")
    return home


def of_spark(environ: Mapping[str, str], arguments: list[str]) -> dict[str, str]:
    """The environment of `spark-submit ARGUMENTS`: this Python's Spark, with its settings.

    On this machine nothing depends on what its host name resolves to. Where the arguments name a
    cluster's master, its addresses and a relative path of the workers' Python are the user's.
    Java does not know TMPDIR of itself, and leaves unpacked libraries there.
    """
    pinned = {**ours(environ), "SPARK_HOME": str(_spark_home())}
    if folder := environ.get("TMPDIR"):
        pinned |= {"SPARK_LOCAL_DIRS": folder, "SPARK_SUBMIT_OPTS": f'-Djava.io.tmpdir="{folder}"'}
    if not any(argument.startswith("--master") for argument in arguments):
        return {**pinned, "SPARK_LOCAL_IP": LOOPBACK[0]}
    theirs = {name: environ[name] for name in _OF_A_CLUSTER if name in environ}
    if environ.get("PYSPARK_PYTHON", "").startswith("./"):
        theirs["PYSPARK_PYTHON"] = environ["PYSPARK_PYTHON"]
    return {**pinned, **theirs}


def _direct(environ: Mapping[str, str]) -> dict[str, str]:
    """Loopback is never asked by a proxy."""
    named = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    hosts = [host.strip() for host in named.split(",") if host.strip()]
    hosts += [host for host in LOOPBACK if host not in hosts]
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(hosts))


def main() -> None:
    """Become `spark-submit` with the arguments of the command line."""
    arguments = sys.argv[1:]
    environ = of_spark(os.environ, arguments)
    submit = f"{environ['SPARK_HOME']}/bin/spark-submit"
    os.execve(submit, [submit, *arguments], environ)


if __name__ == "__main__":
    main()
