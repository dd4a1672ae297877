# Everything a person or CI does with this checkout. Needs python3 (3.11 or newer, with venv and pip) and make.
# .venv is built from the hashed locks and rebuilt when they change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

.PHONY: run demo test interop image lint check bench crash week format generated lock clean

run: $(RUNTIME) ## start emulator and service, send one message, keep serving
	@$(BIN)/python deploy/dev/demo.py --keep

demo: $(RUNTIME) ## the same, exit 0 when the message was sent
	@$(BIN)/python deploy/dev/demo.py

test: $(DEV) ## every test that runs anywhere
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# As root, on a Debian 12 on which deploy/ci/packages.sh has been run.
interop: $(DEV) ## the tests against servers and programs that are not ours
	$(BIN)/python -m pytest -m programs -n 2 --dist loadfile tests/interop tests/deploy tests/service $(ARGS)

image: $(DEV) ## the Dockerfile's and the compose file's steps without a container engine
	$(BIN)/python deploy/ci/image.py

lint: $(DEV) ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: $(DEV) ## types, import layers, generated files
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python deploy/dev/generated.py --check

bench: $(DEV) ## measure against the neighbours, as ratios (ARGS=--quick: one short round)
	$(BIN)/python bench/run.py $(ARGS)

crash: $(DEV) ## kill it 500 times and restart it 20 times within two minutes, and count (ARGS="--kills 100")
	$(BIN)/python deploy/dev/crash.py $(ARGS)

week: $(DEV) ## live a week of one mailbox in moved time and print its figures
	$(BIN)/python -m tests.week

format: $(DEV)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

generated: $(DEV) ## write anew what is generated from the code
	$(BIN)/python deploy/dev/generated.py

lock: $(DEV) ## resolve the locks anew; the files name no package index
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml --group dev --extra azure -o requirements-dev.lock

clean:
	rm -rf $(VENV) .postroom .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.lock pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@ $(RUNTIME)
