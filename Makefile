# `make` alone lists what can be done. GNU make 3.81 or newer; on Windows use it from Git Bash.
#
# Variables you may set on the command line:
#   CHAPTER=02              the chapter for notebooks, text and test-chapter, by the beginning of its file name
#   PYTHON=python3.12       the Python that creates .venv
#   BIN=$CONDA_PREFIX/bin   an environment of your own: the folder of its python; nothing is installed into it
#   CONSTRAINTS=            empty: the newest releases in place of the exact versions of constraints.txt
#   HUB=https://...         the address of a JupyterHub, for links
#   LAB_FLAGS, PYTEST_FLAGS, BENCH_FLAGS, PIP_FLAGS   passed on

.DEFAULT_GOAL := help
.PHONY: help lab install lint test test-full test-chapter test-device test-gpu test-browser bench notebooks frames text html checkpoints slides book diagrams links clean distclean

VENV = .venv
CONSTRAINTS = constraints.txt
CHAPTER =
NAME =
WORKERS = 2

ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN = $(VENV)/Scripts
else
PYTHON ?= python3
BIN = $(VENV)/bin
endif
PY = "$(BIN)/python"

# Files that say that an installation is done and up to date. An environment of the reader's own is taken as it is.
ifeq ($(origin BIN),command line)
READY =
BROWSER_READY =
BOOK_READY =
else
READY = $(VENV)/.installed
BROWSER_READY = $(VENV)/.installed-browser
BOOK_READY = $(VENV)/.installed-book
endif

# Installs "rnnlib" with the extras $(1), editable. pip's notes on package folders that don't exist are noise to a
# student, so they are left out of its messages; the progress bar (stdout) and pip's exit status stay as they are.
pip_install = { { $(PY) -m pip install --disable-pip-version-check --no-input $(PIP_FLAGS) \
	  $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[$(1)]"; echo $$? > $(VENV)/.status; } 2>&1 1>&3 \
	  | grep -v "Location '.*' is ignored" >&2; } 3>&1; \
	status=$$(cat $(VENV)/.status); rm -f $(VENV)/.status; exit $$status

# Kernels run in the folder of the chapters, where a relative folder of corpora would be another one.
ifdef RNNLIB_DATA
export RNNLIB_DATA := $(abspath $(RNNLIB_DATA))
endif

# The modules that the chapters write out; their lines are as long as those of a cell.
taught = $(addprefix rnnlib/,$(addsuffix .py,text scratch gradients layers gates directions sentiment forecasting attention shipping sessions beyond mazes))

# The networks here are tiny: with more threads than one they wait for each other.
settings = RNNLIB_LIVE=0 OMP_NUM_THREADS=1
nbval = --nbval --nbval-current-env
# One worker keeps all cells of a notebook (loadfile); --verbosity=0 prints pytest's full closing line.
parallel = -n $(WORKERS) --dist loadfile
everything = $(PY) -m pytest --verbosity=0 -m "not browser" $(nbval) $(parallel) $(PYTEST_FLAGS)

help: ## print this list
	@echo "An interactive textbook on recurrent neural networks. Start with: make lab"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: $(READY) ## install what is missing, fetch the texts, open the first chapter in JupyterLab
	@$(PY) -m rnnlib.data
	$(PY) -m jupyterlab $(LAB_FLAGS) notebooks/00_start_here.ipynb

install: $(READY) ## create .venv with everything that the chapters and their tests need

lint: $(READY) ## check the style of code and notebooks
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff format --check --line-length 88 $(taught)

test: lint $(BOOK_READY) ## check style, run all tests and every chapter with short trainings (minutes)
	RNNLIB_QUICK=1 $(settings) $(everything) --nbval-cell-timeout=120 tests notebooks

test-full: lint $(BOOK_READY) ## the same with the trainings as the book shows them
	RNNLIB_QUICK=0 $(settings) $(everything) --nbval-cell-timeout=1200 tests notebooks

test-chapter: $(READY) ## run one chapter with short trainings and compare its outputs: CHAPTER=02
	@ls notebooks/$(CHAPTER)*.ipynb > /dev/null
	RNNLIB_QUICK=1 $(settings) $(PY) -m pytest --verbosity=0 $(nbval) --nbval-cell-timeout=120 $(PYTEST_FLAGS) \
	  notebooks/$(CHAPTER)*.ipynb

test-device: $(READY) ## run every chapter on a pretend GPU, a CPU that refuses what GPUs refuse
	JUPYTER_PATH="$(CURDIR)/tests" RNNLIB_QUICK=1 $(settings) $(PY) -m pytest --verbosity=0 --nbval --nbval-kernel-name=pretend_gpu \
	  $(parallel) --nbval-cell-timeout=300 $(PYTEST_FLAGS) notebooks

test-gpu: $(READY) ## run every chapter on a CUDA device with full trainings; fails where there is none
	@$(PY) -c 'import sys, torch; torch.cuda.is_available() or sys.exit("make test-gpu needs a CUDA device, but PyTorch " \
	  + torch.__version__ + " finds none here. On the CPU make test-full runs the same chapters, and make test-device quickly and on a pretend GPU.")'
	@$(PY) -c 'import sys, rnnlib; device = rnnlib.setup(); device.type == "cuda" or sys.exit( \
	  "rnnlib.setup() picks the device " + str(device) + " although there is a CUDA device.")'
	RNNLIB_QUICK=0 $(settings) $(PY) -m pytest --verbosity=0 $(nbval) --nbval-cell-timeout=1200 $(PYTEST_FLAGS) notebooks

test-browser: $(READY) $(BROWSER_READY) $(BOOK_READY) ## drive a real JupyterLab in a real browser (Chromium must be installed)
	RNNLIB_QUICK=1 OMP_NUM_THREADS=1 $(PY) -m pytest --verbosity=0 -m browser -s -rs $(PYTEST_FLAGS) tests/test_browser.py tests/test_live_pages.py tests/test_firefox.py tests/test_slides.py

bench: $(READY) ## measure this book's code and d2l's side by side
	$(PY) -m benchmarks $(BENCH_FLAGS)

notebooks: $(READY) ## run every chapter, or CHAPTER=02, with full trainings and save it with its outputs
	$(PY) tools/notebooks.py run $(CHAPTER)

frames: $(READY) ## run every chapter, or CHAPTER=02, and keep of it only the pictures by which its pages move
	$(PY) tools/notebooks.py frames $(CHAPTER)

text: $(READY) ## write every chapter, or CHAPTER=02, as a script into build/text, to edit it there
	$(PY) tools/notebooks.py text $(CHAPTER)

html: $(READY) $(BOOK_READY) ## write every chapter, or CHAPTER=02, as a page that needs no kernel and no network: build/html
	$(PY) tools/export.py $(CHAPTER)

checkpoints: $(READY) ## train the models that come with the book anew, or NAME=shakespeare_gru alone
	$(PY) -m rnnlib.pretrained $(NAME)

slides: $(READY) $(BOOK_READY) ## cut every chapter, or CHAPTER=02, into slides that need no network: build/slides
	$(PY) tools/slides.py $(CHAPTER)

book: $(READY) $(BOOK_READY) ## build the chapters, the guides and the reference as a site that needs no network: build/book
	$(PY) -m sphinx -W --keep-going -q -c docs -d build/doctrees . build/book

diagrams: $(READY) $(BROWSER_READY) ## draw the chapters' new diagrams for book and slides (Chromium must be installed)
	$(PY) tools/diagrams.py

links: $(READY) ## print the addresses that open a chapter on Binder, Colab or a JupyterHub: HUB=https://hub.example.org
	@$(PY) tools/links.py $(HUB)

clean: ## remove caches and leftovers of builds; chapters being edited in build/text stay
	rm -rf .pytest_cache .ruff_cache .hypothesis rnnlib.egg-info build/lib build/bdist.*
	find rnnlib tests tools benchmarks notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune \
	  -exec rm -rf {} +

distclean: clean ## also remove .venv
	rm -rf $(VENV)

# A file in the place of a target tells make that the installation is newer than the two files that describe it.
$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	@if ! test -x $(PY); then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'This book needs Python 3.11 or newer, but "$(PYTHON)" is' \
	      "$$($(PYTHON) --version 2>&1 | head -n 1 | grep -i ^python || echo missing)." \
	      'Install one and name it: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 1; }; \
	  echo 'Creating $(VENV) ...'; \
	  $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo 'The environment could not be created. On Debian and Ubuntu: sudo apt install python3-venv' >&2; exit 1; }; \
	fi
	@$(PY) -m pip --version > /dev/null 2>&1 || $(PY) -m ensurepip > /dev/null 2>&1 || { \
	  echo '$(VENV) is incomplete; make distclean removes it, then start again.' >&2; exit 1; }
	@echo 'Installing into $(VENV): minutes on the first run, up to 1.5 GB (several GB with CUDA) ...'
	@$(call pip_install,lab$(comma)d2l$(comma)ship$(comma)test)
	@touch $@

$(VENV)/.installed-browser: $(VENV)/.installed
	@$(call pip_install,browser)
	@touch $@

$(VENV)/.installed-book: $(VENV)/.installed
	@$(call pip_install,book)
	@touch $@

comma := ,
