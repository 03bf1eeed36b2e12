# Sourced by spark-submit. Python workers must run the project's interpreter: the worker of the
# stateful operator is started as plain `python3` otherwise.
if [ -z "${PYSPARK_PYTHON:-}" ] && [ -x "${SPARK_HOME}/../../../../bin/python" ]; then
  PYSPARK_PYTHON="$(cd "${SPARK_HOME}/../../../../bin" && pwd)/python"
fi
# A job's own folder stays off Python's path, so that no neighbour hides a package of its name.
PYTHONSAFEPATH=1
# Java first runs for half a second to put the command line of the second together.
SPARK_LAUNCHER_OPTS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC ${SPARK_LAUNCHER_OPTS:-}"
