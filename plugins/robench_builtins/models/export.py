"""A torch.export program that the user brings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from robench import Task, WeightsError
from robench_builtins.models.shared.user_model import UserModel, file_kind, first_line

if TYPE_CHECKING:
    from pathlib import Path

    from robench import Classifier

_AGAIN = (
    "export it again as torch.export.export(model.eval(), (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},)) "
    "with a batch of 2 images or more"
)


class Exported(UserModel):
    """Load a torch.export program, as ``torch.export.save`` writes it: ``export:FILE``.

    Images in [0, 1] go in, logits come out, unless ``size`` and ``normalisation`` say what it wants instead. It must
    have been exported in eval mode with a batch of any size. Reading one unpickles: bring only a file you trust.
    """

    name = "export"
    source = "the user's own model"
    licence = "the model's own"
    runs_code = True
    typed = "export:FILE"

    def load(self, task: Task) -> Classifier:
        """Return the program as a classifier, on the CPU; WeightsError if it cannot be attacked as it was exported."""
        from robench_builtins.models.shared.exported_program import ExportedProgram, steady

        path = self.file()
        program = self._read(path)
        side = (self.size, self.size) if self.size is not None else task.shape[1:]
        self._check_input(program, (task.shape[0], *side))
        classifier = self.check(self.classifier(ExportedProgram(program.module()), task), task)
        if not steady(classifier, task.shape):
            raise WeightsError(
                f"{path} answers an image differently when another one is beside it: it was exported in training mode, "
                f"with dropout or batch statistics; {_AGAIN}."
            )
        return classifier

    def _read(self, path: Path) -> Any:
        import torch

        try:
            with _quiet():
                return torch.export.load(path)
        except Exception as error:  # the reader of damaged files raises whatever it trips on
            raise WeightsError(
                f"{path} is no torch.export program that this torch reads: {file_kind(path)} ({first_line(error)})."
            ) from error

    def _check_input(self, program: Any, shape: tuple[int, ...]) -> None:
        """Refuse a program whose input is not one batch, of any size, of the dataset's images."""
        names = program.graph_signature.user_inputs
        if len(names) != 1:
            raise WeightsError(f"{self.path} takes {len(names)} inputs; a classifier takes one batch of images.")
        (node,) = [node for node in program.graph.nodes if node.op == "placeholder" and node.name == names[0]]
        batch, *rest = node.meta["val"].shape
        if isinstance(batch, int):
            raise WeightsError(f"{self.path} was exported for batches of exactly {batch}; {_AGAIN}.")
        fixed = [side for side in rest if isinstance(side, int)]
        if len(rest) != len(shape) or (len(fixed) == len(rest) and tuple(fixed) != shape):
            raise WeightsError(
                f"{self.path} was exported for images of {_times(rest)}, but would be given {_times(shape)}; resize "
                f"with -p victim.size={rest[-1]}, or export it for the dataset's images."
            )


def _times(shape: Any) -> str:
    return " x ".join(map(str, shape))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's log of a failed read, traceback and all, off the screen; the error itself is told."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
