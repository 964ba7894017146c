# Two commands on a fresh machine with Python 3.11 or later and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Where it is set, each process that the tests start compiles all of its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test lint verify generate lock unit lab-test lab-demo lab-race bench bench-controller bench-kernel image demo-image kind-demo clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

install: $(INSTALLED) ## Install pinned dependencies and lagcast itself into .venv

$(INSTALLED): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=python3.12")'
	@# A venv without pip is one that failed half-way, as where Debian's python3-venv is missing.
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED) ## A day of load with a spike on an accelerated clock; writes out/demo.png
	$(BIN)/lagcast demo

test: lint verify ## Lint, check generated files, run every test (lab tests where the servers can run)
	$(BIN)/python -m pytest -q -n 2 -m "not lab and not slow"
	$(BIN)/python -m pytest -q -n 2 -m "slow and not lab"
	$(BIN)/python -m pytest -m lab

unit: $(INSTALLED) ## Only the unit tests: a minute or two
	$(BIN)/python -m pytest -q -n 2 -m "not lab and not slow"

lab-test: $(INSTALLED) ## Only the tests on the real servers; they must run
	LAGCAST_LAB=required $(BIN)/python -m pytest -m lab

lint: $(INSTALLED) ## ruff, mypy strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

generate: $(INSTALLED) ## Make the generated files again
	$(BIN)/python -m scaler.api.reference > docs/configuration.md
	$(BIN)/python -m manifests.generate
	$(BIN)/python -m scaler.api.crd manifests/crd

verify: $(INSTALLED) ## Fail when a generated file is not what its source makes
	@mkdir -p out
	$(BIN)/python -m scaler.api.reference > out/configuration.md
	diff -u docs/configuration.md out/configuration.md
	$(BIN)/python -m manifests.generate --check
	@rm -rf out/crd
	$(BIN)/python -m scaler.api.crd out/crd
	diff -ru -x Kustomization manifests/crd out/crd

lock: $(INSTALLED) ## Pin dependencies again, with hashes and without index addresses
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml -o requirements/controller.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --all-extras pyproject.toml -o requirements/dev.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -c requirements/dev.lock requirements/image.in -o requirements/image.lock

lab-demo: $(INSTALLED) ## The demo on a real broker, a real API server and real consumers (Java 17, Maven, Go, Prometheus)
	$(BIN)/lagcast lab demo

lab-race: $(INSTALLED) ## Real KEDA and Lagcast on the same load, three times each (builds KEDA once)
	$(BIN)/lagcast lab race

bench: $(INSTALLED) ## Every policy on recorded load, beside the bound; can be stopped and goes on; out/bench
	$(BIN)/lagcast bench

bench-kernel: $(INSTALLED) ## Speed of the simulator's kernels, in three sizes
	$(BIN)/python -m simulations.bench_kernel
	$(BIN)/python -m simulations.bench_requests

bench-controller: $(INSTALLED) ## Sampling, history, decision time and memory; JSON in out/bench-controller.json
	$(BIN)/python -m simulations.lab.bench_controller

IMAGE ?= lagcast:0.1.0
DEMO_IMAGE ?= lagcast-demo:0.1.0
BASE ?= python:3.13-slim-bookworm
DOCKER ?= docker
BUILD ?=

image: ## Build the controller's image (IMAGE, BASE; BUILD: more options of docker build) and out/sbom.cdx.json
	$(DOCKER) build $(BUILD) --build-arg BASE=$(BASE) --target controller -t $(IMAGE) .
	@mkdir -p out
	$(DOCKER) run --rm --network=none --entrypoint=cat $(IMAGE) /opt/lagcast/sbom.cdx.json > out/sbom.cdx.json

demo-image: # the service that kind-demo scales, and its load
	$(DOCKER) build $(BUILD) --build-arg BASE=$(BASE) --target demo -t $(DEMO_IMAGE) .

kind-demo: image demo-image ## A cluster in Docker with Lagcast, something to scale, and Grafana (docker, kind, kubectl)
	IMAGE=$(IMAGE) DEMO_IMAGE=$(DEMO_IMAGE) manifests/kind/up.sh

clean: ## Remove what make made here (not the lab's programs in the user's cache)
	rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
