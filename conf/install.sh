#!/bin/sh
# Installs what one of requirements*.lock lists into .venv. Usage: install.sh PYTHON LOCK
# `uv` does it in a third of pip's time; it asks as pip is set to: index, proxy, and whom to trust.
set -eu
python=$1 lock=$2
fail() { echo "candlecast: $*" >&2; exit 1; }
pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }

if [ ! -x .venv/bin/uv ]; then
  "$python" -m venv .venv
  pip install --require-hashes -r requirements-install.lock || fail "uv could not be installed: see pip's message above"
fi
as_pip() { # VARIABLE VALUE-OF-PIP'S-VARIABLE SETTING: exported where it is not set and pip has one
  value=${2:-$(pip config get "global.$3" 2>/dev/null || :)}
  [ -n "$(printenv "$1")" ] || [ -z "$value" ] || export "$1=$value"
}
as_pip UV_DEFAULT_INDEX "${PIP_INDEX_URL:-}" index-url
as_pip SSL_CERT_FILE "${PIP_CERT:-}" cert
as_pip HTTPS_PROXY "${PIP_PROXY:-}" proxy
export UV_SYSTEM_CERTS=1 VIRTUAL_ENV="$PWD/.venv"
echo "Installing the Python packages of $lock into .venv ..."
# PySpark comes as source and is built: jars are packed already, and packing them again takes 20 s.
.venv/bin/uv pip install --quiet --no-config --no-build-isolation --require-hashes -r "$lock" \
  --config-setting=--build-option=--compression=stored \
  || fail "the packages could not be installed: see the message above (network? disk?)"
