# Everything here works from a bare checkout: the first run makes .venv and installs the
# hash-locked requirements into it, later runs start at once. See CONTRIBUTING.md.

MAKEFLAGS += --no-print-directory
SHELL = /bin/sh
ARGS =

.PHONY: help run demo test lint format lock clean server-environment dev-environment

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

run: server-environment ## Run the whole product here: embedded SQLite, one process (Ctrl-C ends it)
	@exec .venv/bin/keyturn dev $(ARGS)

demo: server-environment ## See a key rotated without a hand and a leak contained, live
	@exec .venv/bin/keyturn demo $(ARGS)

test: dev-environment ## Run the tests; ARGS="-k rotation -n0" goes to pytest
	@.venv/bin/python -m pytest $(ARGS)

lint: dev-environment ## Check style, types and the direction of imports
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --check --quiet . || \
	    { echo "Run 'make format'. Not as ruff formats them:"; .venv/bin/ruff format --check .; exit 1; }
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/lint-imports --no-logo >.venv/lint-imports.log 2>&1 || \
	    { cat .venv/lint-imports.log; exit 1; }
	@echo "lint: style, types and imports are clean"

format: dev-environment ## Format the code and mend what can be mended by machine
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format --quiet .

lock: dev-environment ## Write requirements/*.txt from pyproject.toml; ARGS=--upgrade takes the newest
	@PATH="$$PWD/.venv/bin:$$PATH" tools/lock $(ARGS)

clean: ## Remove what can be made again (never a data folder)
	@rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

server-environment:
	@tools/bootstrap server

dev-environment:
	@tools/bootstrap dev
