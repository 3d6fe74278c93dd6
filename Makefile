# Everything a developer runs. Needs Python 3.11+, git and make; the rest is installed in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo demo-large looks test soak check format bench clean

demo: $(VENV)/.installed
	@$(BIN)/python manage.py demo $(ARGS)

# Ten million events over a year, in a folder of their own (some 8 GB): see `make bench ARGS=pages`.
demo-large: $(VENV)/.installed
	@COSTBOARD_DATA_DIR=$${COSTBOARD_DATA_DIR:-$(CURDIR)/var/large} $(BIN)/python manage.py demo --large 10000000 $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

looks: $(VENV)/.installed-dev
	COSTBOARD_ALL_LOOKS=1 $(BIN)/python -m pytest tests/dashboards/test_every_page.py $(ARGS)

soak: $(VENV)/.installed-dev
	$(BIN)/python -m tests.soak $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python manage.py makemigrations --check --dry-run

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m bench $(ARGS)

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.installed
