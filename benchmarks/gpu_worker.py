"""Attack ResNet-20 once the file ``go`` is there: ``gpu_worker DEVICE IMAGES BATCH STEPS FOLDER`` (gpu_speed)."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from .gpu_clock import wait
from .gpu_victims import contestants, victim


def main(device, images, batch, steps, folder):
    work = contestants(victim("ResNet-20", images, batch, device), steps, device)["robench"]
    work()
    (Path(folder) / f"ready-{os.getpid()}").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.005)
    begun = time.time()
    work()
    wait(device)
    print(json.dumps([begun, time.time()]))  # noqa: T201 - its parent reads this


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5])
