# Everything runs in .venv, which the first target to need it sets up from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
UV := .venv-uv/bin/uv
DEMO ?= demo-output

export PREFECT_SERVER_LOGGING_LEVEL ?= WARNING
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
export DO_NOT_TRACK ?= 1

.PHONY: demo test test-stack lint bench reference lock setup clean

demo: .venv/.ready
	$(BIN)/pixelmill upscale tests/images $(DEMO) --model mill-x4 --overwrite

# Two files at a time, one thread each; then the whole system, which wants the machine for itself.
test: .venv/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/stack
	$(MAKE) test-stack

# What is injected, expected and found is printed for each fault.
test-stack: .venv/.ready
	$(BIN)/python -m pytest -s tests/stack

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: .venv/.ready
	$(BIN)/python -m tests.benchmarks

reference: .venv/.ready
	$(BIN)/python -m tests.reference

lock: $(UV)
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --group dev pyproject.toml -o requirements.lock

setup: .venv/.ready

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pixelmill needs Python 3.11 or newer, got " + sys.version)'
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install -q --disable-pip-version-check uv==0.13.9

.venv/.ready: requirements.lock pyproject.toml | $(UV)
	$(UV) venv -q --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf .venv .venv-uv $(DEMO) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
