# Navarch. Each target sets up what it needs (Debian packages, a virtual environment, generated code) and is quick when there is nothing to do.
#
#   make demo    a real application on a real one-machine cluster, from nothing, and nothing left behind
#   make test    unit, integration, cluster (the store under a nemesis) and node tests (real containerd and nftables)
#   make lint    ruff, mypy --strict, import contracts
#   make bench   the numbers of the README; one alone by B=name (pod_start, service, cold, cli, memory, store, store_engine)
#   make torture the store under a nemesis, as processes and in virtual time, for SECONDS=60
#   make clean   removes what the others made here

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := python3-venv containerd runc containernetworking-plugins nftables conntrack busybox-static iproute2
STAMP := $(VENV)/.installed
# The store is measured beside etcd; nothing else needs it.
bench: PACKAGES += etcd-server

.PHONY: demo test lint bench torture proto packages clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^#   make/make/p' Makefile

# Debian packages: asked of dpkg first, so that a second run needs neither root nor a network.
packages:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  echo "==> installing Debian packages: "$$missing; \
	  if [ "$$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi; \
	  ( $$sudo apt-get -qq update && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing ) >/dev/null \
	    || { echo "make: could not install "$$missing": run as root, or install them with apt-get and try again" >&2; exit 1; }; \
	fi

$(STAMP): pyproject.toml tools/hatch_build.py tools/compile_proto.py | packages
	@[ -x $(BIN)/python ] || { echo "==> making the virtual environment $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "==> installing Python packages"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

proto: $(STAMP)
	@$(BIN)/python tools/compile_proto.py

demo: proto
	@$(BIN)/python -m demo

lint: proto
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: proto
	$(BIN)/python -m pytest $(T)

bench: proto
	@$(BIN)/python -m tests.bench $(B)

SECONDS ?= 60
torture: proto
	@$(BIN)/python -m tests.torture --seconds $(SECONDS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find orchestrator agents cli demo tests tools -name '__pycache__' -type d -prune -exec rm -rf {} +
	find orchestrator agents -name '*_pb2*.py' -delete -o -name '*_pb2*.pyi' -delete
