.PHONY: check lint types test format bench leaderboard docs

check: lint types docs test  ## everything CI runs

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

test:  ## as many processes as cores, four at most, each with one thread
	OMP_NUM_THREADS=1 python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

bench:  ## speed, as ratios to floors and peers measured in the same run
	python -m pytest benchmarks --benchmark-disable-gc -s

leaderboard:  ## regenerate the repository's page from its cards
	robench leaderboard leaderboard/cards -o leaderboard
