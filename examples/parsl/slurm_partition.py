"""A partition of a Slurm cluster: robench run SUITE --device cuda --store /shared/store --on parsl:slurm_partition.py.

Write the names of your cluster in place of those in capitals. The command itself runs where you typed it, a login node
for instance: it gives out tasks and renders what they stored, and needs no GPU.
"""

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="slurm",
            available_accelerators=4,  # GPUs of a node, a task each
            provider=SlurmProvider(
                partition="PARTITION",
                account=None,
                nodes_per_block=1,
                init_blocks=1,
                min_blocks=0,
                max_blocks=8,  # nodes at once
                walltime="04:00:00",
                scheduler_options="#SBATCH --gres=gpu:4",
                worker_init="source /shared/venv/bin/activate",
            ),
        )
    ],
    run_dir="parsl-logs",
    retries=3,  # a node that is lost, or whose time is up, loses what it had not stored
)
