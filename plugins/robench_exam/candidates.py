"""The attacks that are examined: those of the catalog, and of other libraries where they are installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from robench import Attack, SpecError
from robench.plan.cell import SelectedComponent, type_of
from robench.plan.references import find_reference
from robench.plugin.catalog import Offer, catalog
from robench_exam.ground import Subject

#: The library of common corruptions.
LIBRARY = "corrupt_tta"
#: Ours with other losses than their defaults, and the settings that the gate's checks compare.
OURS = (
    *("apgd[loss=margin]", "apgd[loss=dlr]", "apgd[loss=dlr-targeted]", "pgd[steps=40]", "noise[draws=100]"),
    *("square[queries=150]", "sparse-rs[queries=150]", "sparse-rs[queries=1000]", "patch[steps=10,places=2,tries=12]"),
    *("patch-rs[queries=150]", "patch-rs[queries=1000]", "universal", "universal[epochs=1]"),
)
#: Passes of one image above which a built-in attack is examined only where it is named.
MOST_PASSES = 2000
#: Of each library its best known ones; any other can be named. One has fewer steps than
#: by default, which would take longer than all others together.
LIBRARIES = {
    "torchattacks": (
        "FGSM", "BIM", "PGD", "MIFGSM", "PGDL2", "CW", "DeepFool", "APGD", "APGDT", "FAB",
        "OnePixel", "Pixle", "SparseFool", "JSMA",
    ),
    "foolbox": (
        "LinfFastGradientAttack", "LinfBasicIterativeAttack", "LinfPGD", "LinfDeepFoolAttack", "LInfFMNAttack",
        "L2FastGradientAttack", "L2PGD", "L2DeepFoolAttack",
        "L2CarliniWagnerAttack[steps=200,binary_search_steps=5]", "DDNAttack", "L2FMNAttack",
        "LinfRepeatedAdditiveUniformNoiseAttack",
    ),
    "art": (
        "FastGradientMethod", "BasicIterativeMethod", "ProjectedGradientDescent", "MomentumIterativeMethod",
        "AutoProjectedGradientDescent", "CarliniL2Method", "DeepFool",
    ),
}  # fmt: skip


def everything() -> list[str]:
    """Return the attacks that are examined when none is named."""
    built_in = [offer.name for offer in catalog().of("attack") if _usual(offer)]
    installed = [f"{prefix}:{name}" for prefix, names in LIBRARIES.items() if find_spec(prefix) for name in names]
    corruptions = ["corruption:brightness"] if find_spec(LIBRARY) else []
    return [*built_in, *OURS, *corruptions, *installed]


def _usual(offer: Offer) -> bool:
    """Tell whether an offered attack makes images by itself, needs no name of a library's, and is not too dear."""
    kind = offer.component
    if not issubclass(kind, Attack) or kind.made_elsewhere or kind.undeclared or kind.shared:
        return False
    return sum(kind().passes()) <= MOST_PASSES


def attacks(names: Sequence[str], subjects: Sequence[Subject]) -> dict[str, SelectedComponent]:
    """Return the attacks by what was typed; SpecError for one that does not exist, or fits none of the subjects."""
    found = {name: _attack(name) for name in dict.fromkeys(names or everything())}
    refused = {name: [refusal(selected, subject) for subject in subjects] for name, selected in found.items()}
    for name, reasons in refused.items():
        if names and all(reasons):
            raise SpecError(f"{name} fits none of the models: {reasons[0]}")
    return {name: selected for name, selected in found.items() if not all(refused[name])}


def refusal(selected: SelectedComponent, subject: Subject) -> str:
    """Return why an attack cannot be tried on a subject; empty if it can."""
    attack: Attack = type_of(selected, Attack)
    try:
        attack.check(subject.threat)
    except SpecError as error:
        return str(error)
    if attack.shared and not subject.shared:
        return f"{attack.name} is fitted on training images, which {subject.name} has none of."
    if subject.shared and not attack.shared:
        return f"{subject.name} is for attacks that make one perturbation for all images."
    if subject.kind and attack.parameters.get("kind") != subject.kind:
        return f"of {subject.name} is known what corruption:{subject.kind} does, and nothing else."
    return ""


def _attack(text: str) -> SelectedComponent:
    offer, component = find_reference(catalog(), "attack", text)
    if isinstance(component, Attack) and component.made_elsewhere:
        raise SpecError(
            f"{offer.name} reads images that were made of other models; the exam needs an attack that makes some."
        )
    return SelectedComponent(offer, component)
