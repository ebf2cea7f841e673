"""A TorchScript program that the user brings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from robench import Task, WeightsError
from robench_builtins.models.shared.user_model import UserModel, file_kind

if TYPE_CHECKING:
    from robench import Classifier


class TorchScript(UserModel):
    """Load a TorchScript program, as ``torch.jit.save`` writes it: ``torchscript:FILE``.

    Images in [0, 1] go in, logits come out, unless ``size`` and ``normalisation`` say what it wants instead. A
    TorchScript file holds code: bring only one you trust.
    """

    name = "torchscript"
    source = "the user's own model"
    licence = "the model's own"
    runs_code = True
    typed = "torchscript:FILE"

    def load(self, task: Task) -> Classifier:
        """Return the program as a classifier, on the CPU."""
        import torch

        path = self.file()
        with warnings.catch_warnings():
            # torch deprecates writing TorchScript; the files that exist are read all the same.
            warnings.filterwarnings("ignore", message=".*torch.jit.load.*", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit.load.*", category=DeprecationWarning)
            try:
                program = torch.jit.load(path, map_location="cpu")
            except Exception as error:  # the reader of damaged files raises whatever it trips on
                raise WeightsError(
                    f"{path} is no TorchScript program: {file_kind(path)}; torch.jit.save writes one."
                ) from error
        return self.check(self.classifier(program, task), task)
