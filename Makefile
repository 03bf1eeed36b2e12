# Each target makes what it needs first; a second run starts at once.
.DEFAULT_GOAL := help
.PHONY: $(shell grep -oE '^[a-z-]+:' Makefile | tr -d :)
ARGS ?=
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do command -v $$p && break; done)
BIN := .venv/bin
# What would decide before a program of ours can (conf/environment.py has the others).
export LC_ALL := C.UTF-8
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## */\t/' | expand -t 16

install: .venv/.installed .jars/.installed ## the virtual environment and the jars, once

.venv/.installed: requirements.lock pyproject.toml
	@sh conf/check_machine.sh "$(PYTHON)"
	@echo "Installing the Python packages into .venv (about 1 GB to fetch, 3 GB on disk, some minutes) ..."
	@"$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock \
	  || { echo "candlecast: the packages could not be installed: see pip's message above (network? disk?)" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.jars/.installed: conf/jars.lock jobs/machine/jars.py .venv/.installed
	@$(BIN)/python -m jobs.machine.jars
	@touch $@

demo: install    ## live predictions from recorded bars: broker, training, stream, table
	@$(BIN)/candlecast demo $(ARGS)

dashboard: install ## the page on http://127.0.0.1:8501
	@$(BIN)/candlecast dashboard $(ARGS)

screenshots: install ## pictures of the running page, for the README
	@$(BIN)/python -m tests.dashboard.screenshots

recording: install ## docs/replay.html: the page with the last demo's predictions, in one file
	@$(BIN)/python -m jobs.demo.recording

test: install lint ## lint, types and every test
	@$(BIN)/python -m pytest $(ARGS)

lint: install    ## style, types, and which folder may import which
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache

fmt: install     ## format the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

evaluate: install ## walk-forward scores against persistence, ARIMA and ridge
	@$(BIN)/candlecast evaluate $(ARGS)

ablation: install ## whether the news help, with the proof that it would be seen
	@$(BIN)/candlecast ablation $(ARGS)

bench: bench/.envs/contenders/.installed ## speed against what people would use instead (half an hour, a quiet machine)
	@$(BIN)/python -m bench $(ARGS)

bench/.envs/contenders/.installed: bench/contenders/requirements.lock .venv/.installed .jars/.installed
	@$(BIN)/python -m venv bench/.envs/contenders
	@bench/.envs/contenders/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench-table: install ## the table of docs/performance.md from the last `make bench`
	@$(BIN)/python -m bench.table

bench-ingest: install ## bars per second into the topic, against a bare producer
	@$(BIN)/python -m bench.ingest $(ARGS)

soak: install    ## what scoring, retraining and the page cost after a month and a year (25 minutes)
	@$(BIN)/python -m bench.soak $(ARGS)

challengers: install ## how often a year of challengers without skill promotes one (a minute)
	@$(BIN)/python -m bench.challengers $(ARGS)

chaos: install   ## kill what runs, again and again, and count the rows (10 minutes at most)
	@$(BIN)/python -m tests.chaos $(ARGS)

fuzz: install    ## messages of every kind through the real job; each a row or rejected
	@$(BIN)/python -m tests.fuzz $(ARGS)

exchanges: install  ## every exchange of ccxt against a stand-in: a backfill comes whole
	@EVERY_EXCHANGE=1 $(BIN)/python -m pytest -q tests/ingest/test_exchanges.py $(ARGS)

environments: install ## the demo in other people's shells: locales, proxies, their Spark, odd paths
	@$(BIN)/python -m tests.environments $(ARGS)

wheel: install   ## the code for a cluster's workers: dist/candlecast.zip (docs/scale.md)
	@$(BIN)/python -m jobs.machine.pack --code

package: install ## the code and the workers' environment: dist/environment.tar.gz
	@$(BIN)/python -m jobs.machine.pack

clean:           ## forget models, tables, checkpoints and reports (not the recorded data)
	@rm -rf warehouse reports spark-warehouse
