# Every target does its own set-up from a bare clone; `make help` lists them.
#
#   make book PYTHON=python3.12   set up with another Python (3.11 or later)
#   make book PY=python           use the active environment (conda) and set nothing up
#   make book FRESH=1             execute every chapter, current or not
#   make experiments CORES=8      as many runs at a time (and tests, for make test); ONLY=gdsc2: the runs on one benchmark

PYTHON ?= python3
PY ?= .venv/bin/python
TORCH = torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
CORES ?= 2
PYTEST = $(PY) -m pytest -q -n $(CORES)
STAMP = .venv/.installed
# Byte code is made at the first import: a minute of work less to set up.
AS_USED = --no-compile

# One thread: the stored outputs are those of one thread, and small networks are as fast on one as on two.
export OMP_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export HF_HUB_OFFLINE = 1
# Byte code is kept, whatever the surroundings say: without it every process and every kernel
# compiles PyTorch, scikit-learn and the rest anew, some seven seconds each.
export PYTHONDONTWRITEBYTECODE =

ifeq ($(PY),.venv/bin/python)
SETUP = $(STAMP)
endif

comma := ,
space := $(subst ,, )

.DEFAULT_GOAL = help
.PHONY: help setup book build release check test notebooks experiments grid bench mutants portability lock clean

help:
	@echo "make book         set up, build the book from the stored outputs, executing what is not current"
	@echo "make release      make book, then the pages as a zip, a PDF and an EPUB in dist/ (needs Chromium or Chrome)"
	@echo "make check        format, lint and types of the code (ruff, mypy); FIX=1 repairs what can be repaired"
	@echo "make test         set up, run every test: library, notebooks, built book"
	@echo "make notebooks    execute the chapters, store their outputs in notebooks/ and say what they were made from"
	@echo "make experiments  run the experiments whose records are missing (real data: set CLMT_DATA)"
	@echo "make grid         the same as jobs of Snakemake, here or on a cluster (PROFILE=slurm, DRY=1 only tells the plan)"
	@echo "make bench        measure speed, cost curves and time to accuracy (some 15 minutes; best on a quiet machine)"
	@echo "make mutants      plant 300 small bugs and see which the tests miss (hours; ONLY=stack, JOBS=2, AGAIN=1)"
	@echo "make portability  tests and notebooks under every kernel this processor can imitate (an hour; QUICK=1)"
	@echo "make lock         pin the newest versions that pyproject.toml allows"
	@echo "make clean        remove what the book build made (not the environment)"

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "This needs Python 3.11 or later: make book PYTHON=/path/to/python3.12"; exit 1; }
	@echo "== 1/3 environment in .venv ($$($(PYTHON) --version))"
	@test -x .venv/bin/pip || $(PYTHON) -m venv .venv || \
	  { echo "The venv module is missing (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@if nvidia-smi >/dev/null 2>&1; then \
	  echo "== 2/3 $(TORCH), GPU build, and its own dependencies"; \
	  .venv/bin/python -m pip install -qq $(AS_USED) $(TORCH); \
	else \
	  echo "== 2/3 $(TORCH), CPU build (no GPU found)"; \
	  .venv/bin/python -m pip install -qq $(AS_USED) --no-deps --retries 1 --extra-index-url "$(TORCH_INDEX)" $(TORCH); \
	fi
	@echo "== 3/3 the packages of requirements.lock, and clmt_lib itself (about a minute)"
	@.venv/bin/python -m pip install -qq $(AS_USED) -r requirements.lock
	@.venv/bin/python -m pip install -qq $(AS_USED) --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

setup: $(SETUP)
	@echo "Ready. Next: make book"

# Quiet steps that other targets share.
build: $(SETUP)
	@echo "== chapters: stored outputs where they are current, executed where not"
	@$(PY) book/execute.py --jobs $(CORES) $(if $(FRESH),--fresh)
	@echo "== building the pages"
	@CLMT_JOBS=$(CORES) $(PY) -c 'from jupyter_book.cli.main import main; main()' build book -W --keep-going -q

MODEL = _build/models/simulated

book: build
	@test -f $(MODEL)/model.json || { echo "== a fitted model of the simulated world, for clmt predict" && \
	  $(PY) -m clmt_lib fit simulated --out $(MODEL) -q; }
	@echo "The book is built. Next: open _build/html/index.html in a browser"

release: build
	@echo "== zip, PDF, EPUB and checksums"
	@$(PY) book/release.py
	@echo "dist/ holds the release. Next: sha256sum -c SHA256SUMS, in dist/"

check: $(SETUP)
	@$(PY) -m ruff format --quiet $(if $(FIX),,--check) .
	@$(PY) -m ruff check --quiet $(if $(FIX),--fix) .
	@$(PY) -m mypy --no-error-summary
	@echo "Format, lint and types are right. Next: make test"

test: $(SETUP)
	@echo "== library and tools"
	@$(PYTEST) --dist worksteal --ignore=tests/book
	@echo "== every notebook, executed again and compared with its stored outputs; meanwhile the pages are built"
	@mkdir -p _build; $(MAKE) --no-print-directory build > _build/pages.log 2>&1 & pages=$$!; \
	  $(PYTEST) --dist loadfile --nbval notebooks; code=$$?; \
	  wait $$pages || { cat _build/pages.log; exit 1; }; exit $$code
	@echo "== the built book"
	@CLMT_BOOK_BUILT=1 $(PYTEST) --dist worksteal tests/book
	@echo "All tests pass. Next: make book, then open _build/html/index.html"

notebooks: $(SETUP)
	@$(PY) book/execute.py --store --jobs $(CORES)
	@echo "notebooks/ holds the new outputs. Next: git diff --stat notebooks, then make test"

experiments: $(SETUP)
	@for grid in experiments/configs/grid.yaml $(if $(ONLY),,experiments/configs/text.yaml experiments/configs/two_sides.yaml); do \
	  $(PY) -m clmt_lib run --grid $$grid --jobs $(CORES) $(if $(ONLY),--only $(ONLY)) && $(PY) -m clmt_lib report --grid $$grid $(if $(ONLY),--only $(ONLY)) || exit 1; done
ifndef ONLY
	@$(PY) experiments/by_drug.py experiments/configs/text.yaml
	@$(PY) experiments/noise.py gdsc2 tgsa
	@for study in experiments/configs/studies/*.yaml; do $(PY) -m clmt_lib study $$study --jobs $(CORES) || exit 1; done
	@$(PY) -m clmt_lib transfer experiments/configs/transfer.yaml
endif
	@echo "The tables are in experiments/results. Next: make book"

grid: $(SETUP)
	@$(PY) -c 'import snakemake' 2>/dev/null || { echo "Snakemake is not installed. Next: $(PY) -m pip install -e '.[grid]'"; exit 1; }
	@$(PY) -m snakemake -s experiments/Snakefile tables $(if $(PROFILE),--workflow-profile $(PROFILE),--cores $(CORES)) $(if $(DRY),--dry-run --quiet rules) \
	  --config 'files=[$(subst $(space),$(comma),$(wildcard experiments/configs/grid.yaml experiments/configs/text.yaml experiments/configs/two_sides.yaml experiments/configs/studies/*.yaml))]' python='$(PY)'

bench: $(SETUP)
	@$(PY) experiments/bench.py speed curves captions $(if $(CLMT_DATA),accuracy) $(if $(FRESH),--fresh)
	@echo "The records bench-* are in experiments/results/derived. Next: make book"

mutants: $(SETUP)
	@$(PY) tests/mutants.py $(if $(ONLY),--only $(ONLY)) --jobs $(or $(JOBS),1) $(if $(AGAIN),--again)

portability: $(SETUP)
	@$(PY) tests/portability.py $(if $(QUICK),--quick) $(if $(FRESH),--fresh)

lock: $(SETUP)
	@$(PY) book/lock.py

clean:
	rm -rf _build book/notebooks book/api dist
