# `make help` lists the targets.
PYTHON ?= python3
PAGES ?= chapters
# Number of pages that are executed at the same time.
JOBS ?= 1
SHARD ?= 1/1
BIN := .venv/bin
SETUP := .venv/.set-up

# The tests that need neither the built book nor a browser: they run on every backend and with every set of packages.
LIBRARY_TESTS := python -m pytest -n 2 --dist loadfile --ignore=tests/browser --ignore=tests/test_build.py
RESOLUTION_lowest := lowest-direct
RESOLUTION_newest := highest
# JAX and TensorFlow allocate GPU memory as they need it.
ON_GPU := KERAS_BACKEND=jax TF_FORCE_GPU_ALLOW_GROWTH=true XLA_PYTHON_CLIENT_PREALLOCATE=false

.PHONY: help book notebooks test browser test-jax test-lowest test-newest gpu-test gpu-pages gathered-book images live-weights lab lint bench leaderboard mutations weights clean

help: ## list the targets
	@grep -E '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z -]+):.*## /make \1\t/' | expand -t 32

book: $(SETUP) ## execute the changed pages and build _build/html/index.html
	$(BIN)/python tools/book.py execute --jobs $(JOBS)
	$(BIN)/python tools/book.py build
	$(BIN)/python tools/export.py

notebooks: book ## the same: the book contains the pages as plain notebooks, for Colab, GitHub and VS Code, in _build/notebooks

test: $(SETUP) ## run all tests except the browser's, and execute the changed pages
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/browser
	$(BIN)/python tools/book.py execute --jobs $(JOBS)

browser: book ## test the built book and JupyterLab in Chromium
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/browser

test-jax: $(SETUP) ## run the library's tests on JAX
	KERAS_BACKEND=jax $(BIN)/$(LIBRARY_TESTS)

test-lowest test-newest: test-%: ## run them with the lowest or newest packages that pyproject.toml allows
	$(PYTHON) -m venv .venv-uv && .venv-uv/bin/python -m pip install --quiet uv
	.venv-uv/bin/uv venv --quiet --clear --seed --python $(PYTHON) .venv-$*
	VIRTUAL_ENV=.venv-$* .venv-uv/bin/uv pip install --quiet --resolution $(RESOLUTION_$*) --editable ".[pages,book,test,jax]"
	.venv-$*/bin/$(LIBRARY_TESTS)

gpu-test: $(SETUP)-gpu ## run the library's tests on a GPU with JAX
	$(ON_GPU) $(BIN)/$(LIBRARY_TESTS) -n 0

gpu-pages: $(SETUP)-gpu ## execute the pages with the full profile on a GPU; with SHARD=2/4 the second quarter of them
	$(ON_GPU) IMGGEN_PROFILE=full $(BIN)/python tools/book.py execute --shard $(SHARD)

gathered-book: $(SETUP) ## build the book from pages that several machines executed: SHARDS="folder folder"
	$(BIN)/python tools/book.py gather $(SHARDS)
	$(BIN)/python tools/book.py build

images: $(SETUP) ## make the images of the front page, of pages without code and of the live figures, and the diagram of today's systems
	$(BIN)/python tools/front_images.py
	$(BIN)/python tools/page_images.py
	$(BIN)/python tools/live_photograph.py
	$(BIN)/python tools/live_images.py
	$(BIN)/python tools/draw_systems.py

live-weights: $(SETUP) ## write the models of the live figures as scripts, as `make book` does, into _build/live/weights
	$(BIN)/python tools/export_live.py

lab: $(SETUP) ## open the pages in JupyterLab
	$(BIN)/jupyter lab $(OPTIONS) $(PAGES)

lint: $(SETUP) ## run all pre-commit checks, types included
	$(BIN)/pre-commit run --all-files

bench: $(SETUP) ## run the benchmarks on an idle machine: eight hours; a stopped run resumes
	$(BIN)/python benchmarks/noise_speed.py
	$(BIN)/python benchmarks/input_pipeline.py
	$(BIN)/python benchmarks/shipped_models.py
	$(BIN)/python benchmarks/gan_time_to_quality.py
	$(BIN)/python benchmarks/families.py
	$(BIN)/python benchmarks/equal_time.py
	$(BIN)/python benchmarks/attention.py
	$(BIN)/python benchmarks/dit.py
	$(BIN)/python benchmarks/tokens.py
	$(BIN)/python benchmarks/latent.py

leaderboard: $(SETUP) ## measure a recipe and insert its row, half an hour: make leaderboard MODEL=gan [WEIGHTS=gan.npz]
	@test -n "$(MODEL)" || { echo "make: MODEL is not set; for example, make leaderboard MODEL=gan" >&2; exit 2; }
	$(BIN)/python benchmarks/leaderboard.py $(MODEL) $(if $(WEIGHTS),--weights $(WEIGHTS))

mutations: $(SETUP) ## change single characters of the library and list the changes that no test notices, half an hour
	$(BIN)/python tools/mutation_test.py

weights: $(SETUP) ## print how long it will take, then train all shipped models again: hours
	$(BIN)/imggen estimate --profile full
	for model in $$($(BIN)/python -c "from imggen_lib import pretrained; print(*pretrained.names())"); do \
	  $(BIN)/imggen train $$model --profile full -o data/weights/$$model.npz || exit 1; done

clean: ## remove build outputs and environments
	rm -rf _build .venv .venv-* build imggen_lib.egg-info

# The exact packages of the lock, then the library in editable mode.
$(SETUP): requirements.lock pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("make: $(PYTHON) is Python %d.%d; expected 3.11, 3.12 or 3.13: for example, make book PYTHON=python3.13" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(SETUP)-gpu: $(SETUP)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock "jax[cuda12]"
	@$(BIN)/python -c 'import jax, sys; jax.default_backend() == "gpu" or sys.exit(f"make: JAX found {jax.devices()}; expected a GPU: check the driver, or use make test-jax")'
	touch $@
