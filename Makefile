# mailrelay: `make run` to try it, `make test` to test all of it, `make check` while working on it.
# Everything is installed into .venv from hashed locks; nothing else on the machine is touched, except that `make test`,
# run by root on Debian, installs the mail programs that tests talk to (scripts/install-peers.sh).

.DEFAULT_GOAL := help
BIN := .venv/bin
QUICK := $(wildcard tests/unit tests/store tests/flow tests/config tests/meta)
FUZZ_SECONDS ?= 60
# Tests start the program hundreds of times: it is compiled once, whatever the caller's environment says.
unexport PYTHONDONTWRITEBYTECODE
CODE := mailrelay tests scripts examples $(wildcard bench)

.PHONY: help run test test-faults check lint types layers fuzz fuzz-api docs bench lock clean dev peers

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 20

run: ## start the daemon on loopback with a sample organisation
	@scripts/install.sh run
	@exec $(BIN)/mailrelay run --config config/minimal.yaml --sample

test: dev peers ## run every test
	@$(BIN)/pytest -q -n 4 --dist worksteal

test-faults: dev peers ## cut power, fill disks, break clocks and wires: the slowest of them alone
	@$(BIN)/pytest -q -n 4 --dist worksteal tests/faults

check: lint types layers ## check format, style, types and layers, and run the quick tests
	@$(BIN)/pytest -q -n 2 --dist worksteal $(QUICK)

lint: dev ## ruff, and hadolint on the Dockerfile
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint Dockerfile; fi

types: dev ## mypy, strict
	@$(BIN)/mypy

layers: dev ## the import contracts
	@$(BIN)/lint-imports --no-cache

fuzz: dev ## feed the readers of mail whatever comes to mind, for FUZZ_SECONDS
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

fuzz-api: dev ## let schemathesis think of requests to the API for half an hour (MAILRELAY_FUZZ_API_SECONDS)
	@MAILRELAY_FUZZ_API_SECONDS=$${MAILRELAY_FUZZ_API_SECONDS:-1800} $(BIN)/pytest -q -s tests/fuzz/test_api.py

docs: dev ## write what is generated: config/mailrelay.yaml and pages under docs/
	@$(BIN)/python -m mailrelay.config.document
	@$(BIN)/python scripts/tables.py
	@$(BIN)/python scripts/event_types.py

bench: dev peers ## measure, beside Postfix in the same run
	@$(BIN)/python -m bench

lock: ## resolve the dependencies of pyproject.toml anew (needs uv)
	uv pip compile --quiet --upgrade --no-header --no-annotate --generate-hashes --universal -p 3.11 \
	  --extra postgres --extra s3 --group dev pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --no-header --no-annotate --generate-hashes --universal -p 3.11 \
	  --extra postgres --extra s3 --constraint requirements-dev.lock pyproject.toml -o requirements.lock

clean: ## remove what tools leave behind; .venv and data stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* .make

dev:
	@scripts/install.sh dev

peers:
	@scripts/install-peers.sh
