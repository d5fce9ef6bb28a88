# Caisson's commands. `make run` deploys the foundation on this computer, `make test` checks everything; both need root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON ?= python3
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)
CAISSON := $(SUDO) $(VENV)/bin/caisson
STATE ?= $(CURDIR)/.state
RELEASES := $(patsubst releases/%/config/final.yml,%,$(wildcard releases/*/config/final.yml))
# What `make bench` compares with, beyond what `make run` needs.
BENCH_PACKAGES := dnsmasq-base dnsperf knot
# What plays clouds in tests: the vCenter simulator.
TEST_PACKAGES := golang-github-vmware-govmomi-dev golang-go
APT_PACKAGES := e2fsprogs iproute2 mmdebstrap nftables openssh-client openssl procps ruby systemd-container

export CAISSON_STATE := $(STATE)
export BOSH_CONFIG ?= $(STATE)/cli.yml
export BOSH_ENVIRONMENT ?= local
export BOSH_NON_INTERACTIVE ?= true

.PHONY: help
help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

lint unit walks test-e2e bench conformance: | build

.PHONY: test-packages
test-packages: ## install the Debian packages that only tests need
	@missing=$$(for name in $(TEST_PACKAGES); do \
	    dpkg-query -W -f='$${Status}' $$name 2>/dev/null | grep -q 'install ok installed' || echo $$name; done); \
	if [ -n "$$missing" ]; then \
	    echo "==> Installing" $$missing; \
	    $(SUDO) apt-get update -qq; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

.PHONY: unit
unit: setup ## unit tests: fast, no machines
	@$(VENV)/bin/python -m pytest -q -n 2 -m "not e2e and not walk" tests

.PHONY: walks
walks: setup test-packages ## the director killed at every point, random histories, property tests, every row of a sweep: in memory, minutes
	@$(VENV)/bin/python -m pytest -q -n 2 -m "walk and not e2e" tests

.PHONY: test-e2e
test-e2e: setup ## end to end: real machines, real daemons
	@$(SUDO) env "PATH=$$PATH" $(VENV)/bin/python -m pytest -q -m e2e tests

.PHONY: conformance
conformance: setup test-packages ## all CPIs against their suite and a sample of faults: CLOUDS="aws gcp" for some CPIs, EVERY=1 for all faults
	@$(SUDO) env "PATH=$$PATH" $(VENV)/bin/python -m cpis.conformance $(CLOUDS) $(if $(EVERY),--every $(EVERY)) --json build/conformance.json

# Keeps the services' programs (900 MB) between runs. OPENSTACK_CASES=few leaves out cases of the suite that other clouds prove as well.
OPENSTACK ?= $(STATE)/openstack
OPENSTACK_CASES ?= all

.PHONY: openstack-packages
openstack-packages: setup ## install the services of OpenStack for their tests: minutes, 900 MB
	@$(SUDO) bash cpis/conformance/clouds/openstack/install.sh || echo "==> Debian's packages of MariaDB and RabbitMQ cannot be had"
	@$(SUDO) env "PATH=$$PATH" $(VENV)/bin/python -m cpis.conformance.clouds.openstack $(OPENSTACK)

.PHONY: test-openstack
test-openstack: openstack-packages ## the OpenStack CPI against the real services on loopback; skipped, with the reason, where they cannot be had
	@$(SUDO) env "PATH=$$PATH" CAISSON_OPENSTACK_PACKAGES=$(OPENSTACK) CAISSON_OPENSTACK_CASES=$(OPENSTACK_CASES) \
	    $(VENV)/bin/python -m pytest -q -rs -m openstack tests/cpis/openstack tests/e2e/test_clouds.py

.PHONY: test
test: lint unit walks test-e2e ## everything that CI runs

.PHONY: bench-packages
bench-packages: ## install the Debian packages that only benchmarks need
	@missing=$$(for name in $(BENCH_PACKAGES); do \
	    dpkg-query -W -f='$${Status}' $$name 2>/dev/null | grep -q 'install ok installed' || echo $$name; done); \
	if [ -n "$$missing" ]; then \
	    echo "==> Installing" $$missing; \
	    $(SUDO) apt-get update -qq; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	    ! command -v systemctl >/dev/null || $(SUDO) systemctl disable --now -q knot.service 2>/dev/null || true; \
	fi

.PHONY: fuzz-dns
fuzz-dns: setup ## spoiled packets for the resolver: PACKETS=10000000 takes ten minutes
	@$(VENV)/bin/python -m tests.fuzz.dns --packets $(or $(PACKETS),1000000)

.PHONY: bench
bench: setup bench-packages ## figures beside their targets and peers, in build/bench.json too
	@$(SUDO) env "PATH=$$PATH" $(VENV)/bin/python -m tests.bench

.PHONY: director
director: setup
	@[ ! -d $(STATE)/local ] || $(SUDO) $(VENV)/bin/python -m cpis.local.power on $(STATE)/local
	@$(CAISSON) director status >/dev/null 2>&1 || $(CAISSON) director start --alias $(BOSH_ENVIRONMENT)

# A runtime config names exact versions: of each release the one uploaded last, as `-v NAME_version=VERSION`.
define RELEASE_VERSIONS
import json, sys
newest = {row["name"]: row["version"].rstrip("*") for row in reversed(json.load(sys.stdin)["Tables"][0]["Rows"])}
print(*(f"-v {name.replace('-', '_')}_version={version}" for name, version in newest.items()))
endef
export RELEASE_VERSIONS

# Release order does not matter; each is made anew only when its content changed, and uploaded only when the director lacks it.
.PHONY: run
run: director ## deploy the foundation on this computer and show it
	@echo "==> Stemcell"
	@$(CAISSON) upload-stemcell manifests/stemcells/debian-12.yml
	@echo "==> Releases: $(RELEASES)"
	@for release in $(RELEASES); do $(CAISSON) upload-release --dir releases/$$release; done
	@echo "==> Configs"
	@$(CAISSON) update-cloud-config manifests/cloud-configs/local.yml >/dev/null
	@$(CAISSON) update-runtime-config manifests/runtime-configs/dns.yml $$($(CAISSON) --json releases | $(VENV)/bin/python -c "$$RELEASE_VERSIONS") >/dev/null
	@echo "==> Foundation"
	@$(CAISSON) -d foundation deploy --fix manifests/foundation.yml
	@echo "==> Smoke tests"
	@$(CAISSON) -d foundation run-errand smoke-tests
	@$(CAISSON) -d foundation instances
	@echo
	@echo "Try next:"
	@echo "  eval \"\$$(make env)\"                                  then every command knows this director"
	@echo "  caisson -d foundation ssh hello/0                      a terminal on a machine"
	@echo "  caisson -d foundation deploy manifests/foundation.yml -o manifests/ops/scale-hello.yml --dry-run"
	@echo "  curl -H 'Host: hello.foundation.internal' http://10.244.16.10/"
	@echo "  make stop    end the machines and the director, keep everything      make clean    remove everything"

# Not all clouds at will: `make rehearsal CLOUDS="local aws"`. OpenStack needs a quarter of an hour more and 680 MB of programs.
REHEARSED := $(or $(CLOUDS),local aws azure gcp vsphere)

.PHONY: rehearsal
rehearsal: setup test-packages | build ## the whole foundation on each cloud's stand-in in turn, and what came out compared: CLOUDS="local aws"
	@$(SUDO) env CAISSON_OPENSTACK_PACKAGES=$(OPENSTACK) $(VENV)/bin/caisson portability manifests/foundation.yml $(foreach cloud,$(REHEARSED),--cloud-config manifests/cloud-configs/$(cloud).yml) \
	    -v openstack_net_id=of-the-stand-in --run --release releases --runtime-config manifests/runtime-configs/dns.yml --errand smoke-tests \
	    --report build/rehearsal.json --tty

.PHONY: env
env: ## shell lines that let `caisson` and `bosh` find this director
	@echo "export PATH=$(CURDIR)/$(VENV)/bin:\$$PATH CAISSON_STATE=$(STATE) BOSH_CONFIG=$(BOSH_CONFIG) BOSH_ENVIRONMENT=$(BOSH_ENVIRONMENT)"

.PHONY: stop
stop: ## end the director and the machines of this checkout; `make run` starts them again
	@[ ! -x $(VENV)/bin/caisson ] || $(CAISSON) director stop
	@[ ! -d $(STATE)/local ] || $(SUDO) $(VENV)/bin/python -m cpis.local.power off $(STATE)/local

.PHONY: clean
clean: ## remove all: machines, disks, networks, state, environment, build results
	@[ ! -x $(VENV)/bin/caisson ] || $(CAISSON) director stop
	@[ ! -d $(STATE)/local ] || $(SUDO) $(VENV)/bin/python -m cpis.local.clean $(STATE)/local
	@$(SUDO) rm -rf $(STATE) build $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@$(SUDO) rm -rf releases/*/.dev_builds releases/*/dev_releases releases/*/blobs releases/*/config/blobs.yml
	@find . -name __pycache__ -type d -prune -exec rm -rf {} + ; rm -rf *.egg-info
