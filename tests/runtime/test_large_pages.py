"""Large pages: torch's own switch, set before it allocates, and left as the user set it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from robench.pipeline.workbench import use_device
from robench.runtime.large_pages import VARIABLE


@pytest.mark.parametrize(("given", "then"), [(None, "1"), ("0", "0"), ("1", "1")])
def test_a_run_asks_for_large_pages_unless_the_user_said_otherwise(monkeypatch, given, then):
    import os

    monkeypatch.setenv(VARIABLE, given or "")
    if given is None:
        monkeypatch.delenv(VARIABLE)
    use_device("cpu")
    assert os.environ[VARIABLE] == then


def test_the_command_line_asks_before_torch_is_there(monkeypatch):
    code = (
        "import os, sys\n"
        "from robench.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        f"    print(os.environ['{VARIABLE}'], 'torch' in sys.modules)\n"
    )
    monkeypatch.delenv(VARIABLE, raising=False)
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["1", "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone is asked by madvise")
@pytest.mark.parametrize("value", ["0", "1"])
def test_torch_knows_the_switch(value):
    code = "import torch; print(torch.zeros(2**25, dtype=torch.uint8).data_ptr() % 4096)"
    environment = {VARIABLE: value, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (int(done.stdout) == 0) is (value == "1"), "a tensor that is to have pages of its own begins with one"
