# Caisson's commands. `make run` deploys the foundation on this computer, `make test` checks everything; both need root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON ?= python3
CAISSON := $(VENV)/bin/caisson
STATE ?= $(CURDIR)/.state
RELEASES := $(patsubst releases/%/config/final.yml,%,$(wildcard releases/*/config/final.yml))
APT_PACKAGES := iproute2 iptables mmdebstrap openssh-client ruby systemd-container
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

export CAISSON_STATE := $(STATE)
export BOSH_CONFIG ?= $(STATE)/cli.yml
export BOSH_ENVIRONMENT ?= local
export BOSH_NON_INTERACTIVE ?= true

.PHONY: help
help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: packages
packages: ## install the Debian packages that are missing
	@missing=$$(for name in $(APT_PACKAGES) python3-venv; do \
	    dpkg-query -W -f='$${Status}' $$name 2>/dev/null | grep -q 'install ok installed' || echo $$name; done); \
	if [ "$(origin PYTHON)" != file ] || $(PYTHON) -c 'import ensurepip' 2>/dev/null; then missing=$$(echo $$missing | sed 's/python3-venv//'); fi; \
	if [ -n "$${missing// /}" ]; then \
	    echo "==> Installing" $$missing; \
	    $(SUDO) apt-get update -qq; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

$(VENV)/.made: setup.cfg pyproject.toml
	@echo "==> Making the virtual environment"
	@[ -x $(VENV)/bin/python ] || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

.PHONY: setup
setup: packages $(VENV)/.made ## make the virtual environment with bin/caisson

.PHONY: lint
lint: setup ## style, types and layers
	@$(VENV)/bin/ruff check director cpis tests
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache >build/lint-imports.txt 2>&1 || { cat build/lint-imports.txt; exit 1; }
	@echo "layers: kept"

build:
	@mkdir -p build

lint unit test-e2e bench: | build
