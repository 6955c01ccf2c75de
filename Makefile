# Each target is one thing that a reader can also type. `make help` lists them.
PYTHON ?= python3
PAGES ?= chapters
# How many pages are executed at a time.
JOBS ?= 1
BIN := .venv/bin
SETUP := .venv/.set-up

# What does not need the book: the same on every backend and with every set of packages.
LIBRARY_TESTS := python -m pytest -n 2 --dist loadfile --ignore=tests/browser --ignore=tests/test_build.py
RESOLUTION_lowest := lowest-direct
RESOLUTION_newest := highest
# Neither framework takes the whole memory of the GPU for itself.
ON_GPU := KERAS_BACKEND=jax TF_FORCE_GPU_ALLOW_GROWTH=true XLA_PYTHON_CLIENT_PREALLOCATE=false

.PHONY: help book test browser test-jax test-lowest test-newest gpu-test gpu-book lab lint bench weights clean

help: ## list the targets
	@grep -E '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z -]+):.*## /make \1\t/' | expand -t 32

book: $(SETUP) ## execute the changed pages and build _build/html/index.html
	$(BIN)/python tools/book.py execute --jobs $(JOBS)
	$(BIN)/python tools/book.py build

test: $(SETUP) ## run every test, and every changed page
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/browser
	$(BIN)/python tools/book.py execute --jobs $(JOBS)

browser: book ## look at the built book, and at JupyterLab, with the system's Chromium
	$(BIN)/python -m pytest tests/browser

test-jax: $(SETUP) ## the library's tests with JAX under Keras
	KERAS_BACKEND=jax $(BIN)/$(LIBRARY_TESTS)

test-lowest test-newest: test-%: ## the library's tests with the lowest or newest packages that pyproject.toml allows
	$(PYTHON) -m venv .venv-uv && .venv-uv/bin/python -m pip install --quiet uv
	.venv-uv/bin/uv venv --quiet --clear --seed --python $(PYTHON) .venv-$*
	VIRTUAL_ENV=.venv-$* .venv-uv/bin/uv pip install --quiet --resolution $(RESOLUTION_$*) --editable ".[book,test,jax]"
	.venv-$*/bin/$(LIBRARY_TESTS)

gpu-test: $(SETUP)-gpu ## the library's tests on a GPU, with JAX
	$(ON_GPU) $(BIN)/$(LIBRARY_TESTS) -n 0

gpu-book: $(SETUP)-gpu ## every page at full size on a GPU, then the book from those runs
	$(ON_GPU) IMGGEN_PROFILE=full $(BIN)/python tools/book.py execute
	$(ON_GPU) IMGGEN_PROFILE=full $(BIN)/python tools/book.py build

lab: $(SETUP) ## open the pages in JupyterLab
	$(BIN)/jupyter lab $(OPTIONS) $(PAGES)

lint: $(SETUP) ## what pre-commit checks, on every file
	$(BIN)/pre-commit run --all-files

bench: $(SETUP) ## measure against peers, two and a half hours; the races go on where they stopped
	$(BIN)/python benchmarks/noise_speed.py
	$(BIN)/python benchmarks/input_pipeline.py
	$(BIN)/python benchmarks/shipped_models.py
	$(BIN)/python benchmarks/gan_time_to_quality.py
	$(BIN)/python benchmarks/families.py

weights: $(SETUP) ## train every model of the catalog again, hours
	for model in $$($(BIN)/python -c "from imggen_lib import catalog; print(*catalog.names())"); do \
	  $(BIN)/imggen train $$model --profile full -o data/weights/$$model.npz || exit 1; done

clean: ## remove what was built, and the environments
	rm -rf _build .venv .venv-* build imggen_lib.egg-info

# The exact set of packages that the tests ran with, then the library itself, editable.
$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("make: $(PYTHON) is Python %d.%d, and the packages are for 3.11, 3.12 and 3.13; name another: make book PYTHON=python3.13" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(SETUP)-gpu: $(SETUP)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock "jax[cuda12]"
	@$(BIN)/python -c 'import jax, sys; jax.default_backend() == "gpu" or sys.exit(f"make: JAX finds no GPU here, only {jax.devices()}")'
	touch $@
