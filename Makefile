# `make run` and `make test` do all their own set-up. Needs Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
export PORT ?= 8000
export DATA_DIR ?= $(CURDIR)/var
BIN := $(VENV)/bin
# Many processes start here: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test coverage lint lock messages reference docs pictures

run: $(VENV)/runs
	@exec $(BIN)/gunicorn twofa_site.demo --preload --config gunicorn.conf.py \
	  --bind 127.0.0.1:$(PORT) --graceful-timeout 1

# A worker that is done takes tests from the others: some take minutes.
# REQUIRE_SERVICES=1 makes a missing service a failure; SLOW=1 adds the slow tests, and LONG=1 the
# long ones too; PYTEST_ARGS selects tests. On PostgreSQL where DATABASE_URL names one, or on SQLite.
# A test that waits for ever fails, with the stack of each thread, and the others go on. The long
# forms of promises take an hour in one test, so only this target has a limit.
LIMIT = -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true
test: $(VENV)/tests
	@$(BIN)/python -m pytest -n auto --dist worksteal $(LIMIT) $(if $(LONG),,-m "not long$(if $(SLOW),, and not slow)") $(PYTEST_ARGS)

# Which lines and branches no test reaches; takes twice as long. Tests whose server is a process of
# its own are left out: nothing is traced there.
coverage: $(VENV)/tests
	@$(MAKE) --no-print-directory test PYTEST_ARGS="--cov --cov-report=term:skip-covered \
	  --ignore=tests/browser --ignore=tests/clients"

lint: $(VENV)/tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy optin tools twofa_site conformance tests bench deploy docs/generate.py docs/site.py manage.py
	$(BIN)/djlint --check --lint templates
	$(BIN)/python manage.py makemigrations --check --dry-run

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)

# A lock file names every package that is installed. With --no-deps pip resolves nothing, so
# a package that is released later cannot change or break an installation. Python compiles what
# it imports: pip would compile four times as much.
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-compile \
  --require-hashes -r
CHECK = $(BIN)/pip check --disable-pip-version-check

$(VENV)/runs: requirements.txt | $(VENV)/bin/python
	@$(INSTALL) requirements.txt
	@$(CHECK)
	@touch $@

$(VENV)/tests: requirements-dev.txt | $(VENV)/bin/python
	@$(INSTALL) requirements-dev.txt
	@$(CHECK)
	@touch $@

# Choose newer versions: needs uv. Extras stay in the lock files: pip compares a name with its
# extras.
LOCK = uv pip compile --universal --generate-hashes --no-strip-extras --python-version 3.11 --upgrade
lock:
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-twilio.in -o requirements-twilio.txt -c requirements.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt -c requirements.txt \
	  -c requirements-twilio.txt

# Collect what is to be translated, and compile what is: for developers, needs gettext.
# Nothing else does: the compiled catalogue is committed.
messages: $(VENV)/tests
	$(BIN)/python manage.py makemessages --locale de --no-obsolete --add-location file \
	  --ignore .venv --ignore var --ignore tests --ignore bench --ignore deploy --ignore conformance
	$(BIN)/python manage.py compilemessages --locale de --ignore .venv --ignore var

# Write the parts of docs/reference.md that come from the code.
reference: $(VENV)/tests
	@$(BIN)/python manage.py shell --no-imports -c "from docs import generate; generate.write()"

# Build the site of the documentation: open var/site/docs/index.html.
docs: $(VENV)/tests
	@$(BIN)/python -m docs.site

# Draw all pictures of the docs anew: for developers, needs Chromium and pngquant. A new one needs
# a test that draws it, and a place in the docs that shows it.
pictures: $(VENV)/tests
	@set -e; drawn=$$(mktemp -d); trap 'rm -r "$$drawn"' EXIT; \
	SCREENSHOTS=$$drawn $(BIN)/python -m pytest -q tests/browser/test_pictures.py tests/browser/test_causes.py; \
	for name in $$(grep -oh 'images/[a-z-]*[.]png' README.md docs/*.md | sort -u); do \
	  pngquant --force --strip --output docs/$$name $$drawn/$${name#images/}; \
	done
