#!/bin/sh
# Writes the lock files anew from pyproject.toml; what is locked already stays where it fits.
# `sh conf/lock.sh --upgrade` takes the newest versions.
set -eu
compile() { .venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --no-header --no-annotate "$@"; }
cd "$(dirname "$0")/.."
compile pyproject.toml --extra dev -o requirements-dev.lock "$@"
compile pyproject.toml --extra train -c requirements-dev.lock -o requirements-train.lock
compile pyproject.toml -c requirements-dev.lock -o requirements.lock
compile --group pyproject.toml:worker -c requirements-dev.lock -o requirements-worker.lock
compile --group pyproject.toml:install -c requirements-dev.lock -o requirements-install.lock
