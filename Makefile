# `make render` and `make test` do all set-up themselves; see README.md.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Half as many again as cores: tests of whole jobs wait for servers much of their time.
PYTEST := $(BIN)/pytest -n $(shell expr $$(nproc) \* 3 / 2) --dist worksteal
export PATH := $(CURDIR)/$(BIN):$(PATH)
# The tests start a thousand Python processes: each would compile every module that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup render test lint types suite unit integration emulators e2e deep chaos fidelity image docs bench lock clean

help: ## List the targets
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Virtual environment, pinned dependencies, POV-Ray, ffmpeg
	@scripts/require_povray
	@scripts/require_ffmpeg $(VENV)

$(STAMP): pyproject.toml setup.py povstorm_client/programs/povray_waits.c povstorm_client/programs/povray_window.c povstorm_client/programs/plain_stack.py render_image/povray_files.c constraints.txt scripts/make_venv
	@scripts/make_venv $(VENV)
	@touch $@

render: setup ## Render examples/orbit to examples/orbit/out/orbit.mp4
	$(BIN)/python examples/orbit/render.py

test: setup ## Lint, types and all tests
	@scripts/require_povray examples
	@scripts/require_tcc
	@scripts/require_chromium
	$(MAKE) --no-print-directory lint
# mypy has use for one core only, and tests wait for servers now and then.
	$(MAKE) --no-print-directory --jobs=2 types suite

suite: setup
	$(PYTEST)

lint: setup ## ruff (lint and format), hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint render_image/Dockerfile deployments/Dockerfile

types: setup ## mypy --strict
	$(BIN)/mypy

unit: setup ## Unit tests only
	$(PYTEST) tests/unit

integration: setup ## Integration tests only
	@scripts/require_povray examples
	@scripts/require_tcc
	$(PYTEST) tests/integration

emulators: setup ## Tests of the servers that stand in for Google Cloud
	$(PYTEST) tests/emulators

e2e: setup ## End-to-end tests only
	@scripts/require_chromium
	$(PYTEST) tests/e2e

deep: setup ## What is too long for `make test`: a job's end in the flow's image with 512 MiB
	$(BIN)/pytest --deep -rP tests/deep

chaos: setup ## Long chaos runs; ROUNDS=20 and SEED=1, or others
	$(BIN)/python -m tests.chaos --seed $(or $(SEED),1) --rounds $(or $(ROUNDS),20)

fidelity: setup ## Compare scenes drawn by chance with POV-Ray's own loop; EXAMPLES=2000 and SEED=1
	$(BIN)/python -m tests.fidelity --examples $(or $(EXAMPLES),2000) --seed $(or $(SEED),1)
	$(BIN)/python -m tests.fidelity.file_scenes $(or $(EXAMPLES),2000)

image: setup ## Build the render container's image (with Docker, or as root on Debian)
	@scripts/build_image render >/dev/null

docs: setup ## The documents and the reference as a site in build/docs
	$(BIN)/mkdocs build --strict --quiet

bench: setup ## The benchmarks, side by side (minutes)
	$(BIN)/python -m benchmarks.head_and_tail
	$(BIN)/python -m benchmarks.video_tail
	$(BIN)/python -m benchmarks.local_throughput
	$(BIN)/python -m benchmarks.own_loop
	$(BIN)/python -m benchmarks.orchestration
	$(BIN)/python -m benchmarks.sandbox_cost
	$(BIN)/python -m benchmarks.tracing
	$(BIN)/python -m benchmarks.container_start
	$(BIN)/python -m benchmarks.container_frames
	$(BIN)/python -m benchmarks.cloud_run_waves
	$(BIN)/python -m benchmarks.end_to_end --frames 1000
	$(BIN)/python -m benchmarks.api_calls

lock: setup ## Write constraints.txt anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --all-extras --python-version 3.11 pyproject.toml -o constraints.txt

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
