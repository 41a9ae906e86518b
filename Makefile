# speakerdb: the commands of a checkout. They need Python 3.11 to 3.13 and make.
PYTHON ?= python3
USER_ENV := .venv
DEV_ENV := .venv-dev
PACKAGE := pyproject.toml $(shell find speakerdb -type f -not -path '*__pycache__*')

TFIO_ENV := .venv-tfio
BACKENDS_ENV := .venv-backends
OLDEST_ENV := .venv-oldest
BACKENDS ?= train-jax,train-torch,further

.PHONY: demo test test-slow test-oldest lint format encoder tfio test-tfio test-backends clean

demo: $(USER_ENV)/made  ## the main job on examples/, in an environment of its own
	@$(USER_ENV)/bin/python examples/demo.py

test: $(DEV_ENV)/made  ## all tests but the slow ones
	$(DEV_ENV)/bin/python -m pytest -m "not slow"

test-slow: $(DEV_ENV)/made  ## the slow ones: whole trainings, kills at every step, two hours of audio
	$(DEV_ENV)/bin/python -m pytest -m slow

test-oldest: $(OLDEST_ENV)/made  ## the package with the oldest minor versions that it allows
	$(OLDEST_ENV)/bin/python -m pytest -m "not slow" --ignore=tests/training -W ignore::DeprecationWarning

$(OLDEST_ENV)/made: pyproject.toml
	$(PYTHON) -m venv $(OLDEST_ENV)
	grep -oE '"[a-z-]+>=[0-9.]+' pyproject.toml | sed 's/"//; s/>=/==/; s/$$/.*/' > $(OLDEST_ENV)/oldest.txt
	$(OLDEST_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(OLDEST_ENV)/oldest.txt \
		--editable '.[cpu,media,kaldi,plot,test]'
	@touch $@

lint: $(DEV_ENV)/made  ## ruff, mypy, import-linter
	$(DEV_ENV)/bin/ruff check .
	$(DEV_ENV)/bin/ruff format --check .
	$(DEV_ENV)/bin/mypy
	$(DEV_ENV)/bin/lint-imports --no-cache

format: $(DEV_ENV)/made
	$(DEV_ENV)/bin/ruff check --fix .
	$(DEV_ENV)/bin/ruff format .

WORK ?= $(HOME)/speakerdb-work

encoder: $(DEV_ENV)/made  ## train an encoder by the shipped one's recipe (hours; resumes where it stopped)
	$(DEV_ENV)/bin/python -m training build --recipe third --work $(WORK) --out speakerdb/encoders/speakerdb-16k

$(USER_ENV)/made: $(PACKAGE)
	@echo "making $(USER_ENV): a minute, once" >&2
	@$(PYTHON) -m venv $(USER_ENV)
	@$(USER_ENV)/bin/python -m pip install --quiet --disable-pip-version-check '.[cpu]'
	@touch $@

$(DEV_ENV)/made: pyproject.toml
	$(PYTHON) -m venv $(DEV_ENV)
	$(DEV_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[cpu,media,kaldi,train,dev]'
	@touch $@

tfio: $(TFIO_ENV)/made  ## an environment in which tensorflow-io decodes in the graph (Python 3.11 or 3.12)

test-tfio: $(TFIO_ENV)/made  ## both ways of decoding give the same samples
	TF_CPP_MIN_LOG_LEVEL=3 $(TFIO_ENV)/bin/python -m pytest tests/training/test_training_decoding.py

$(TFIO_ENV)/made: pyproject.toml
	$(PYTHON) -m venv $(TFIO_ENV)
	$(TFIO_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[tfio,test]'
	@touch $@

test-backends: $(BACKENDS_ENV)/made  ## TensorFlow, JAX and torch train the same network; a graph learns further
	$(BACKENDS_ENV)/bin/python -m pytest tests/training/test_training_backends.py tests/training/further

$(BACKENDS_ENV)/made: pyproject.toml
	$(PYTHON) -m venv $(BACKENDS_ENV)
	$(BACKENDS_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[train,$(BACKENDS),test]'
	@touch $@

clean:
	rm -rf $(USER_ENV) $(DEV_ENV) $(TFIO_ENV) $(BACKENDS_ENV) $(OLDEST_ENV) build dist *.egg-info
