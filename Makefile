# Each target makes what it needs first; a second run starts at once.
.DEFAULT_GOAL := help
.PHONY: $(shell grep -oE '^[a-z-]+:' Makefile | tr -d :)
ARGS ?=
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do command -v $$p && break; done)
BIN := .venv/bin
# What would decide before a program of ours can (conf/environment.py has the others).
export LC_ALL := C.UTF-8
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONDONTWRITEBYTECODE

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## */\t/' | expand -t 16

install: .venv/.run .jars/.installed ## what runs: the virtual environment and the jars, once
install-train: install .venv/.train ## the same with what trains: TensorFlow and more
install-dev: install .venv/.dev ## the same with what tests and measures, too

.venv/.run: requirements.lock requirements-install.lock pyproject.toml
	@sh conf/check_machine.sh "$(PYTHON)" 3000
	@sh conf/install.sh "$(PYTHON)" requirements.lock
	@$(BIN)/uv pip install --quiet --no-config --python .venv --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.train: requirements-train.lock .venv/.run
	@sh conf/check_machine.sh "$(PYTHON)" 3000
	@sh conf/install.sh "$(PYTHON)" requirements-train.lock
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.run
	@sh conf/check_machine.sh "$(PYTHON)" 4000
	@sh conf/install.sh "$(PYTHON)" requirements-dev.lock
	@touch $@ .venv/.train

.jars/.installed: conf/jars.lock jobs/machine/jars.py .venv/.run
	@$(BIN)/python -m jobs.machine.prepared & $(BIN)/python -m jobs.machine.jars && wait $$!
	@touch $@

# With --train the extra that it needs comes first.
demo: install $(if $(findstring --train,$(ARGS)),install-train) ## live predictions from recorded bars
	@$(BIN)/candlecast demo $(ARGS)

start: install   ## live predictions: asks for source, symbols and timeframe (ARGS=--yes: Binance's BTC and ETH)
	@$(BIN)/candlecast start $(ARGS)

dashboard: install ## the page on http://127.0.0.1:8501
	@$(BIN)/candlecast dashboard $(ARGS)

screenshots: install-dev ## pictures of the running page, for the README
	@$(BIN)/python -m tests.dashboard.screenshots

recording: install-dev ## docs/replay.html: the page with the last demo's predictions, in one file
	@$(BIN)/python -m jobs.demo.recording

test: install-dev lint ## lint, types and every test
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

lint: install-dev    ## style, types, and which folder may import which
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache

fmt: install-dev     ## format the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

train: install-train ## a model of what the stream has archived, put to the gate
	@$(BIN)/candlecast train $(ARGS)

shipped: install-train ## the model that comes with the code, anew: model/shipped
	@$(BIN)/python -m jobs.ship

evaluate: install-train ## walk-forward scores against persistence, ARIMA and ridge
	@$(BIN)/candlecast evaluate $(ARGS)

ablation: install-train ## whether the news help, with the proof that it would be seen
	@$(BIN)/candlecast ablation $(ARGS)

bench: bench/.envs/contenders/.installed ## speed against what people would use instead (half an hour, a quiet machine)
	@$(BIN)/python -m bench $(ARGS)

bench/.envs/contenders/.installed: bench/contenders/requirements.lock .venv/.dev .jars/.installed
	@$(BIN)/python -m venv bench/.envs/contenders
	@bench/.envs/contenders/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench-table: install-dev ## the table of docs/performance.md from the last `make bench`
	@$(BIN)/python -m bench.table

bench-ingest: install-dev ## bars per second into the topic, against a bare producer
	@$(BIN)/python -m bench.ingest $(ARGS)

bench-live: install-dev ## from an exchange's close message to the acknowledged bar, and its prediction, 300 series (a quarter of an hour)
	@$(BIN)/python -m bench.live_ingest

bench-page: install-dev ## how soon the page and a prediction on it are there; ARGS="--folder DIR", of `make soak`
	@$(BIN)/python -m bench.page $(ARGS)

soak: install-dev    ## what scoring, retraining and the page cost after a month and a year (25 minutes)
	@$(BIN)/python -m bench.soak $(ARGS)

challengers: install-dev ## how often a year of challengers without skill promotes one (a minute)
	@$(BIN)/python -m bench.challengers $(ARGS)

chaos: install-dev   ## kill what runs, again and again, and count the rows (10 minutes at most)
	@$(BIN)/python -m tests.chaos $(ARGS)

fuzz: install-dev    ## messages of every kind through the real job; each a row or rejected
	@$(BIN)/python -m tests.fuzz $(ARGS)

exchanges: install-dev  ## every exchange of ccxt against a stand-in: a backfill comes whole
	@EVERY_EXCHANGE=1 $(BIN)/python -m pytest -q tests/ingest/test_exchanges.py $(ARGS)

environments: install-dev ## the demo in other people's shells: locales, proxies, their Spark, odd paths
	@$(BIN)/python -m tests.environments $(ARGS)

containers: install-dev ## docker-compose.yml on a real Docker engine (20 minutes at most)
	@$(BIN)/python -m tests.containers $(ARGS)

wheel: install-dev   ## the code for a cluster's workers: dist/candlecast.zip (docs/scale.md)
	@$(BIN)/python -m jobs.machine.pack --code

package: install-dev ## the code and the workers' environment: dist/environment.tar.gz
	@$(BIN)/python -m jobs.machine.pack

clean:           ## forget models, tables, checkpoints and reports (not the recorded data)
	@rm -rf warehouse reports spark-warehouse
