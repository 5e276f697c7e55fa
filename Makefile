# Each target sets up what it needs; nothing has to be done before.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo images test test-unit test-integration test-faults test-universal test-without-spark test-without-java test-matrix test-lowest lint bench lab docs clean

VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Test modules run in so many processes, each with its own lakes and Spark: about 3 GB of memory for each. On two
# cores three of them wait for one another less than for their lakes.
WORKERS ?= 3
IN_WORKERS := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# An interpreter of 3.11 or newer that can make virtual environments.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$python; break; }; done)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

demo: $(VENV)/.demo ## one training set out of two lakes, on real servers: the main job, shown
	$(BIN)/feast-hybrid demo

test: ## lint, types, unit tests, and integration tests on containers
	# Images wait for the network, the others for a core.
	$(MAKE) --no-print-directory --jobs 3 --output-sync=target lint test-unit images
	$(MAKE) --no-print-directory test-integration

test-unit: $(VENV)/.dev ## unit tests: seconds, no servers
	$(BIN)/python -m pytest tests/unit -q $(IN_WORKERS)

test-integration: $(VENV)/.dev ## integration tests on real servers: containers, or LAKES=process
	-scripts/ensure-kerberos
	PYTHON=$(BIN)/python scripts/with-engine $(MAKE) --no-print-directory test-with-engine

.PHONY: test-with-engine test-lakes test-classic
test-with-engine:
	$(MAKE) --no-print-directory --jobs 2 test-classic test-lakes
	SPARK=connect $(BIN)/python -m pytest tests/integration -q -m connect $(IN_WORKERS) $(PYTEST_ARGS)

test-classic:
	$(BIN)/python -m pytest tests/integration --ignore tests/integration/test_lakes.py -q $(IN_WORKERS) $(PYTEST_ARGS)

# The lakes' own tests start Spark sessions, so they need a process without one; they wait for servers half of the time.
test-lakes:
	$(BIN)/python -m pytest tests/integration/test_lakes.py -q

# What takes minutes: all in tests/integration/faults, and the modules that name the marks of what takes minutes.
FAULT_TESTS := tests/integration/faults \
	$(shell grep -lwE 'MINUTES|SEEDS|FEAST_HYBRID_FAULT_ROUNDS|first_seeds|LAKES_IN_TURNS' tests/integration/test_*.py \
		tests/integration/{asof,historical,layouts}/test_*.py)

test-faults: $(VENV)/.dev ## faults of lakes, executors and drivers, load, many seeds: 40 minutes; FAULT_ROUNDS=20
	-scripts/ensure-kerberos
	FEAST_HYBRID_FAULT_ROUNDS=$(or $(FAULT_ROUNDS),20) PYTHON=$(BIN)/python scripts/with-engine $(BIN)/python -m pytest -q \
		$(IN_WORKERS) $(FAULT_TESTS) $(PYTEST_ARGS)

images: $(VENV)/.dev ## the images of the lakes' containers
	@test "$(LAKES)" = process || \
		PYTHON=$(BIN)/python scripts/with-engine $(BIN)/python -m feast_hybrid.testing.images

test-universal: $(VENV)-universal/.installed ## Feast's universal suite; FEAST_REPO=<checkout of feast-dev/feast>
	@test -n "$(FEAST_REPO)" || { echo "Say where Feast's repository is: make test-universal FEAST_REPO=<checkout>"; exit 2; }
	PYTHON=$(VENV)-universal/bin/python scripts/with-engine \
		$(VENV)-universal/bin/python -m feast_hybrid.testing.universal --feast-repo "$(FEAST_REPO)" \
		$(or $(UNIVERSAL_ARGS),--peer --report docs/conformance.md)
	# It has what Feast keeps validation references with.
	PYTHON=$(VENV)-universal/bin/python scripts/with-engine \
		$(VENV)-universal/bin/python -m pytest tests/integration/test_feast_validate.py -q

test-without-spark: $(VENV)/.dev $(VENV)-without-spark/.installed ## Feast's universal suite where PySpark is not installed
	@test -n "$(FEAST_REPO)" || { echo "Say where Feast's repository is: make $@ FEAST_REPO=<checkout>"; exit 2; }
	# The lakes' servers need PySpark's jars: they run from the other environment.
	$(BIN)/python -m feast_hybrid.testing run \
		$(VENV)-without-spark/bin/python -m feast_hybrid.testing.universal --feast-repo "$(FEAST_REPO)" \
		$(or $(UNIVERSAL_ARGS),--report docs/conformance-without-spark.md)

test-without-java: $(VENV)/.dev ## the wheel on a machine without Java: a container, which reads both lakes
	PYTHON=$(BIN)/python scripts/with-engine env LAKES=process $(BIN)/python -m pytest tests/machines -q $(PYTEST_ARGS)

test-matrix: ## the retrieval tests on PySpark 4.0, 4.1, 4.2 and 4.3 (make test has 4.3 alone)
	scripts/test-matrix "$(PYTHON)" $(SPARKS)

test-lowest: ## unit and retrieval tests on the lowest versions that pyproject.toml allows
	scripts/test-lowest "$(PYTHON)"

lint: $(VENV)/.dev ## ruff, types, layers, requirements, generated docs, how Markdown is wrapped
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	scripts/write-reliability --check
	scripts/write-format-limits --check
	scripts/wrap-markdown --check $(filter-out docs/benchmarks.md docs/conformance%.md,$(wildcard *.md docs/*.md docs/adr/*.md))

bench: $(VENV)/.bench ## the as-of join against its peers; SHAPES=dense,sparse SCALE=0.1 AGAIN=1
	$(BIN)/python -m benchmarks $(if $(SHAPES),--shapes $(SHAPES)) $(if $(SCALE),--scale $(SCALE)) \
		$(if $(AGAIN),--again) $(BENCH_ARGS)

lab: $(VENV)/.demo ## the full set of containers, until Ctrl-C: both lakes and a Spark cluster
	PYTHON=$(BIN)/python scripts/with-engine $(BIN)/python -m feast_hybrid.testing up --mode container --spark

docs: $(VENV)/.docs ## the documentation as a site, in site/
	$(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

clean: ## remove what the other targets made here; the download cache stays
	rm -rf $(VENV) $(VENV)-universal $(VENV)-without-spark $(VENV)-spark-* $(VENV)-lowest build dist site *.egg-info .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

define install
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed (Debian: apt-get install python3-venv)."; exit 2; }
	@java -version >/dev/null 2>&1 || { echo "Java 17 or newer is needed (Debian: apt-get install openjdk-17-jre-headless)."; exit 2; }
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --editable '.[$(2)]' $(3)
	@touch $@
endef

$(VENV)/.demo: pyproject.toml setup.cfg
	$(call install,$(VENV),demo)

$(VENV)/.dev: pyproject.toml setup.cfg
	$(call install,$(VENV),dev)
	@touch $(VENV)/.demo

$(VENV)/.bench: pyproject.toml setup.cfg
	$(call install,$(VENV),bench)

$(VENV)/.docs: pyproject.toml setup.cfg
	$(call install,$(VENV),docs)

$(VENV)-universal/.installed: pyproject.toml setup.cfg
	$(call install,$(VENV)-universal,universal)

$(VENV)-without-spark/.installed: pyproject.toml setup.cfg
	$(call install,$(VENV)-without-spark,suite)
