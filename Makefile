# The commands of this project. Each makes its own environment first; only Python 3.11+ is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
FUZZ   := .cache/fuzz/venv
SYFT   := .cache/image/venv
IMAGE  ?= action-agent
SBOM   ?= action-agent.cdx.json

.PHONY: help venv lint format test chart fuzz chaos soak bench sandbox image sbom lock

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(VENV)/.ready ## the environment, with hashed requirements

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "making the environment in $(VENV), which takes a minute or so"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

lint: venv ## format check, ruff, mypy strict, import contracts
	$(BIN)/ruff format --check agent tests
	$(BIN)/ruff check agent tests
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv ## rewrites in house style
	$(BIN)/ruff format agent tests
	$(BIN)/ruff check --fix agent tests

test: venv ## everything that needs no broker, Docker, Java or account, on all cores: make test ARGS=tests/routing
	$(BIN)/python -m $(RUNNER) pytest -n auto -m "not kafka and not browser and not memory_cgroup and not chart and not prometheus and not image" $(ARGS)

chart: venv ## renews what the chart's README and schema have from its values and the agent's settings
	$(BIN)/python -m tests.chart.derived

fuzz: SECONDS = 60
fuzz: $(FUZZ)/.ready ## looks for input that breaks the parsers: make fuzz SECONDS=60 SEED=7 ARGS="decoder outputs"
	$(FUZZ)/bin/python -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

$(FUZZ)/.ready: requirements/fuzz.txt
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --require-hashes -r requirements/fuzz.txt
	@touch $@

chaos: venv ## agents on a real Kafka while everything breaks: make chaos SECONDS=120 SEED=7; needs Java 17 and Maven
	$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),120) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: venv ## an agent under mixed runs must not grow: make soak SECONDS=3600
	SOAK_SECONDS=$(or $(SECONDS),600) $(BIN)/python -m pytest -s tests/faults/test_20_soak.py $(ARGS)

bench: venv ## what an agent handles, beside bare loops: make bench ARGS="--only http-sync --rounds 5"; needs Java 17 and Maven, takes the better part of an hour
	$(BIN)/python -m tests.bench $(ARGS)

sandbox: venv ## the agent on this machine without an account: make sandbox ARGS=--once
	$(BIN)/action-agent sandbox $(ARGS)

image: venv ## the container image, with Docker, buildah or podman: make image IMAGE=name BASE_IMAGE=base
	PYTHON="$(BIN)/python" BASE_IMAGE="$(BASE_IMAGE)" ENGINE="$(ENGINE)" .ci/image/build "$(IMAGE)"

sbom: $(SYFT)/.ready ## what an image is made of, as CycloneDX: make sbom IMAGE=name SBOM=file
	PATH="$(CURDIR)/$(SYFT)/bin:$$PATH" ENGINE="$(ENGINE)" .ci/image/sbom "$(IMAGE)" "$(SBOM)"

$(SYFT)/.ready: requirements/image.txt
	$(PYTHON) -m venv $(SYFT)
	$(SYFT)/bin/python -m pip install --quiet --require-hashes -r requirements/image.txt
	@touch $@

lock: venv ## renews the hashed requirements
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml --extra otel -o requirements/otel.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml --extra otel --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml --group fuzz -o requirements/fuzz.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group image -o requirements/image.txt
