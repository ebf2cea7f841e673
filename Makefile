.PHONY: check lint types test smoke format bench bench-gpu leaderboard docs site

#: Compiled files are kept, or each of the many processes that tests start compiles robench itself. Each process computes in
#: one thread. Files are dealt out whole, because tests of one file share what is trained (a class is dealt out by itself), and
#: the long ones first (tests/conftest.py), or one process would end alone. A process that crashes ends the whole run, which
#: names the test: with files dealt out whole, pytest-xdist 3.8 that starts another one waits for ever. One process more than
#: there are cores, since a third of the time tests wait for the processes, browsers and schedulers that they start.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 python -m pytest \
  --numprocesses $$(python -c "import os; print(min(4, (os.cpu_count() or 1) + 1))") \
  --max-worker-restart 0 --dist loadscope --no-loadscope-reorder

check: lint  ## everything CI runs; mypy, which takes one core, beside the tests
	$(MAKE) --jobs=2 types test

lint:
	ruff check .
	ruff format --check .
	lint-imports --no-logo

format:
	ruff check --fix .
	ruff format .

types:
	mypy

docs:  ## generated parts of the docs and the leaderboard are what the code gives
	python docs/generate.py --check

test:  ## all, with as many processes as cores, four at most; make test FILE=tests/gate/test_cost.py: one file
	$(if $(FILE),OMP_NUM_THREADS=1 python -m pytest $(FILE),$(PYTEST))

smoke:  ## about a minute: the contracts, what is planned, whole runs on a benchmark known by hand, start, docs
	$(PYTEST) tests/contracts tests/plan tests/pipeline/test_run.py tests/cli/test_startup.py tests/test_surface.py \
	  tests/test_import_rules.py \
	  tests/test_docs.py::test_generated_parts_are_what_the_code_gives

site:  ## the documentation as pages in build/site, links checked; needs pip install -e '.[docs]'
	mkdocs build --strict --quiet

bench:  ## speed, as ratios to floors and peers measured in the same run
	python -m pytest benchmarks --benchmark-disable-gc -s

bench-gpu:  ## what only a GPU can show, in under 8 minutes; writes a table into docs/speed.md
	@python -m benchmarks.bench_gpu

leaderboard:  ## regenerate the repository's page from its cards
	robench leaderboard leaderboard/cards -o leaderboard
