"""One machine with eight GPUs, a task a GPU: robench run SUITE --device cuda --on parsl:node_of_8_gpus.py."""

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="gpus",
            address="127.0.0.1",
            # Each worker sees the GPU of its number alone (CUDA_VISIBLE_DEVICES).
            available_accelerators=8,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
    ],
    run_dir="parsl-logs",
    retries=2,
)
