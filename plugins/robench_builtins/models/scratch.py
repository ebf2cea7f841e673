"""What the small models share: drawn weights to be trained, or a file with weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from robench import SpecError, Task, WeightsError, parameter
from robench_builtins.models.supervised import Supervised

if TYPE_CHECKING:
    from torch import nn

    from robench import Classifier


class Scratch(Supervised):
    """Build a network for the dataset's images and classes, and train it there unless it is given weights."""

    checkpoint: str = parameter(
        default="",
        help="weights as .safetensors or .pt; empty: drawn from the seed and trained on the dataset",
        path=True,
    )

    def files(self) -> tuple[Path, ...]:
        """Return the file, if one is named."""
        return (Path(self.checkpoint).expanduser(),) if self.checkpoint else ()

    def untrained(self) -> bool:
        """Tell whether the weights are drawn."""
        return not self.checkpoint

    def network(self, task: Task) -> nn.Module:
        """Return the network, drawn from torch's global generator."""
        raise NotImplementedError

    def preprocess(self, task: Task) -> nn.Module | None:
        """Return what happens to images in [0, 1] before the network; None leaves them as they are."""
        return None

    def load(self, task: Task) -> Classifier:
        """Return the classifier, with the file's weights or with drawn ones."""
        from robench import Classifier

        with drawn(task):
            network = self.network(task)
        if self.checkpoint:
            self._take(network, task)
        return Classifier(network, len(task.classes), self.preprocess(task)).eval()

    def read(self) -> dict[str, object]:
        """Return the file's tensors under the network's names."""
        from robench_builtins.models.state import read_state

        state = read_state(self.files()[0], "victim.checkpoint")
        return {name.removeprefix("network."): tensor for name, tensor in state.items()}

    def _take(self, network: nn.Module, task: Task) -> None:
        try:
            network.load_state_dict(self.read())
        except RuntimeError as error:
            shape = " x ".join(map(str, task.shape))
            reason = " ".join(str(error).split())
            raise WeightsError(
                f"{self.checkpoint} does not fit {self.name} for {len(task.classes)} classes of images {shape} "
                f"({reason[:300]}); give weights of this very architecture, or its parameters as they were in training."
            ) from error


@contextmanager
def drawn(task: Task) -> Iterator[None]:
    """Let torch's modules, which draw from the global generator, draw from the task's seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.fork("initial values").seed)
        yield


def widths(owner: str, text: str) -> list[int]:
    """Return the numbers in ``text``, such as ``32,16`` (or ``32-16``, for names in brackets)."""
    words = [word for word in re.split(r"[\s,+x-]+", text) if word]
    if not all(word.isdigit() and int(word) for word in words):
        raise SpecError(f"{owner} takes whole numbers above 0, separated by commas or -, such as 32,16; not '{text}'.")
    return list(map(int, words))
