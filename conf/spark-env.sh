# Sourced by spark-submit. Python workers must run the project's interpreter: the worker of the
# stateful operator is started as plain `python3` otherwise.
if [ -z "${PYSPARK_PYTHON:-}" ] && [ -x "${SPARK_HOME}/../../../../bin/python" ]; then
  PYSPARK_PYTHON="$(cd "${SPARK_HOME}/../../../../bin" && pwd)/python"
fi
# A job's own folder stays off Python's path, so that no neighbour hides a package of its name.
PYTHONSAFEPATH=1
# Java first runs for half a second to put the command line of the second together.
SPARK_LAUNCHER_OPTS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC ${SPARK_LAUNCHER_OPTS:-}"
# Java takes the classes that a stream loads from one file, where `make install` has made it: a start
# takes a quarter less. What it says of an archive that does not fit goes where errors go.
if [ -f .jars/classes.jsa ]; then
  SPARK_SUBMIT_OPTS="-XX:SharedArchiveFile=.jars/classes.jsa -Xlog:disable -Xlog:all=warning:stderr ${SPARK_SUBMIT_OPTS:-}"
fi
