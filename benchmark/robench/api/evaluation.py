"""``robench.evaluate``: a bare module, measured without a plugin."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.api.grid import run
from robench.contracts.components import Dataset
from robench.contracts.search_precision import EXACT, Precision
from robench.contracts.threat_model import Norm
from robench.evidence.card import Card
from robench.plan import arguments
from robench.plan import flags_and_arguments as wording
from robench.plan import request_values as values
from robench.plan.evaluate_arguments import offer
from robench.plan.spec import Spec
from robench.plugin.catalog import catalog
from robench.runtime.default_dtype import float32_by_default

if TYPE_CHECKING:
    from torch import Tensor, nn


@float32_by_default()
def evaluate(
    module: nn.Module,
    *,
    dataset: str | Dataset | tuple[Tensor, Tensor] | None = None,
    attack: str = "pgd",
    eps: str | float = "8/255",
    norm: Norm = "Linf",
    precision: Precision = EXACT,
    n: int | None = None,
    seed: int = 0,
    certificate: str | Sequence[str] = (),
    name: str = "module",
    parameters: Mapping[str, Any] | None = None,
    store: Path | str | None = None,
    **options: Any,
) -> Card:
    """Measure a bare ``nn.Module`` and return its card; no plugin is needed.

    Args:
        module: images (N, C, H, W) in [0, 1] -> logits; normalise inside. It is copied and left untouched.
        dataset: a dataset's name, a Dataset of your own, or ``(images, labels)``: uint8 or float32 in [0, 1],
            (N, C, H, W), and (N,), as tensors, arrays or lists. None is the default dataset.
        attack: an attack's name, with parameters in brackets if need be: ``pgd[steps=50]``.
        eps: radius in pixel units.
        norm: ``Linf``, ``L2``, ``L1``, ``L0``, whose eps counts pixels, ``patch``, whose eps is the side of a
            square in pixels, or ``corruption``, whose eps is a severity.
        precision: what the module is computed in while adversarial images are searched for: ``float32``, ``tf32`` or
            ``bf16``; scores are float32.
        n: number of test images; None takes all.
        seed: determines everything that is drawn.
        certificate: what proves of images that they stand, such as ``crown``; one or several.
        name: what the card calls the module.
        parameters: as for :func:`run`, such as ``{"attack.steps": 50}``.
        store: where artifacts are kept; None keeps none, since a module's code cannot be fingerprinted.
        **options: device, batch_size, offline, compiled, prepared, gate, gate_images, gate_cost, timeout, progress,
            gallery and keep_images as for :func:`run`.

    Raises:
        ArgumentError: an argument that there is not, such as ``defense``: a bare module has none.
        RobenchError: what was asked for cannot be measured.
    """
    with wording.for_python():
        arguments.check_evaluate(module, name, dataset, options)
        known, dataset, content = offer(catalog(), module, name, dataset if dataset is not None else "")
        spec = Spec(
            dataset=dataset, victim=(name,), attack=(attack,), eps=(eps,), norm=norm, n=n, seed=(seed,),
            precision=precision, certificate=values.several("certificate", certificate),
            parameters={**content, **(parameters if parameters is not None else {})},
        )  # fmt: skip
        with _folder(store) as root:
            return run(spec, store=root, known=known, **options)[0]


@contextmanager
def _folder(store: Path | str | None) -> Iterator[Path]:
    if store is not None:
        yield Path(values.place("store", store))
        return
    with tempfile.TemporaryDirectory(prefix="robench-") as folder:
        yield Path(folder)
