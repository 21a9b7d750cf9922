# Two commands do everything on a fresh machine with Python 3.11 and make: `make demo` and `make test`.
.PHONY: install demo stop fleet viewer test soak check bench docs lock train evidence clean

PYTHON ?= python3
BIN = .venv/bin
UV = 0.13.9
LOCK = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url -q
RUNTIME = .venv/.runtime
DEV = .venv/.dev

# What Pneumoscope needs to run, in .venv, and nothing started.
install: $(RUNTIME)

demo: $(RUNTIME)
	@$(BIN)/pneumoscope viewer || echo "The demo goes on without the viewer."
	@test -d build/demo/study || { rm -rf build/demo/partial && $(BIN)/pneumoscope phantom build/demo/partial && mv build/demo/partial build/demo/study; }
	@$(BIN)/python scripts/demo.py

# Ends the node that `make demo` started.
stop:
	@$(BIN)/python scripts/demo.py stop

# A hub and 26 hospitals on this machine, and what befalls them in nine minutes, or more on a slow machine; wants 16 GB of memory.
fleet: $(DEV)
	@$(BIN)/python scripts/fleet/story.py

# Fetches the viewer of images, which `make demo` does too.
viewer: $(RUNTIME)
	$(BIN)/pneumoscope viewer $(FILE)

test: $(DEV)
	@scripts/peers.sh
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

# What takes longer than a change can wait for: faults on whole nodes, phantoms of known truth, the viewer, two who read together.
soak: $(DEV)
	@scripts/peers.sh
	$(BIN)/python -m pytest -q -m soak

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/gates/test_docs.py

bench: $(DEV)
	$(BIN)/python bench/loading.py
	$(BIN)/python bench/reading.py
	$(BIN)/python bench/receiving.py
	$(BIN)/python bench/worklist.py
	$(BIN)/python bench/viewer.py
	$(BIN)/python bench/hub.py
	$(BIN)/python bench/hub.py --postgres
	$(BIN)/python bench/node.py latency
	$(BIN)/python bench/node.py queue
	$(BIN)/python bench/node.py queue --postgres

# Takes anew the pictures in docs/images: pages of a node with phantoms, the report, a hub with invented hospitals.
docs: $(DEV)
	$(BIN)/python scripts/docs_pictures.py

lock: $(DEV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install -q uv==$(UV)
	$(LOCK) pyproject.toml requirements/build.in -o requirements/runtime.lock
	$(LOCK) pyproject.toml requirements/build.in --extra dev -o requirements/dev.lock
	$(LOCK) pyproject.toml requirements/build.in --extra tracing -o requirements/tracing.lock

# DATA=folder says where the training data lie (see docs/how-to/train-the-network.md); goes on where it stopped.
train: .venv-training/.stamp
	.venv-training/bin/python -m pneumoscope.training train recipes/lung-lesion.toml runs/lung-lesion $(if $(DATA),--data $(DATA))
	.venv-training/bin/python -m pneumoscope.training train recipes/pattern.toml runs/pattern $(if $(DATA),--data $(DATA))

evidence: .venv-training/.stamp
	.venv-training/bin/python -m pneumoscope.training evidence $(if $(DATA),--data $(DATA)) $(if $(KEY),--key $(KEY))

clean:
	rm -rf .venv .venv-training build

.venv/bin/python:
	@scripts/venv.sh $(PYTHON) .venv

$(RUNTIME): requirements/runtime.lock pyproject.toml | .venv/bin/python
	@echo "Installing what Pneumoscope needs (once) ..."
	@$(BIN)/python -m pip install -q --require-hashes -r requirements/runtime.lock
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.lock pyproject.toml | .venv/bin/python
	@echo "Installing what its tests need (once) ..."
	@$(BIN)/python -m pip install -q --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

.venv-training/.stamp: requirements/training.txt requirements/runtime.lock
	@scripts/venv.sh $(PYTHON) .venv-training
	.venv-training/bin/python -m pip install -q --require-hashes -r requirements/runtime.lock
	.venv-training/bin/python -m pip install -q -r requirements/training.txt
	.venv-training/bin/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@
