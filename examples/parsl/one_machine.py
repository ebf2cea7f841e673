"""Several processes of this machine: robench run SUITE --on parsl:one_machine.py."""

import os

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

#: Processes at once. Each computes in one thread, so that results do not depend on how many there are.
WORKERS = min(4, os.cpu_count() or 1)

config = Config(
    executors=[
        HighThroughputExecutor(
            label="cores",
            address="127.0.0.1",
            max_workers_per_node=WORKERS,
            provider=LocalProvider(init_blocks=1, max_blocks=1, worker_init="export OMP_NUM_THREADS=1"),
        )
    ],
    run_dir="parsl-logs",
    retries=2,
)
