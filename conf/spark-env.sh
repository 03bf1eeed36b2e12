# Sourced by spark-submit. Python workers must run the project's interpreter: the worker of the
# stateful operator is started as plain `python3` otherwise.
if [ -z "${PYSPARK_PYTHON:-}" ] && [ -x "${SPARK_HOME}/../../../../bin/python" ]; then
  PYSPARK_PYTHON="$(cd "${SPARK_HOME}/../../../../bin" && pwd)/python"
fi
# What puts Spark's command line together lives for a moment.
SPARK_LAUNCHER_OPTS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
