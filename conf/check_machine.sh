#!/bin/sh
# Says in one line what this machine lacks. Usage: check_machine.sh PYTHON MB_OF_DISK
fail() { echo "candlecast: $*" >&2; exit 1; }

python=$1
[ -n "$python" ] || fail "no Python found; install Python 3.11 or 3.12, or run make PYTHON=/path/to/python"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
  || fail "Python 3.11 or 3.12 is needed; $python is $("$python" -V 2>&1); run make PYTHON=/path/to/python"
"$python" -c 'import ensurepip, venv' 2>/dev/null \
  || fail "$python has no venv module; on Debian or Ubuntu: apt-get install python3-venv"

java=java
[ -n "$JAVA_HOME" ] && java="$JAVA_HOME/bin/java"
command -v "$java" >/dev/null 2>&1 \
  || fail "no Java found (looked for $java); install a Java runtime, version 17 or newer"
# Up to Java 8 the version begins with `1.`.
version=$("$java" -version 2>&1 | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' | head -n 1)
[ "${version:-0}" -ge 17 ] \
  || fail "Java 17 or newer is needed; $java is version ${version:-unknown}; set JAVA_HOME to a newer one"

free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
[ "${free_mb:-0}" -ge "$2" ] || [ -d .venv ] \
  || fail "the packages need about $2 MB of disk; only ${free_mb} MB are free here"
