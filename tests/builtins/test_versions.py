"""Built-ins are known by their version: what one computes may not change unless its version is raised.

``results.json`` holds, by component, the version and a few figures of what it computes on tiny seeded inputs. After a
change that is meant, raise the component's ``version`` and write the file again:

    python tests/builtins/test_versions.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from robench import seeded_globally
from robench.contracts.components import Component
from robench.contracts.parameters import parameters_of
from robench.evidence.code_digest import SHIPPED
from robench.pipeline.stages.fit import trains
from robench.plugin.catalog import catalog
from robench.testing import certificate_checks, fixtures
from robench.testing.component_under_test import Subject
from robench.testing.fixtures import USUAL

RECORDED = Path(__file__).parents[1] / "golden" / "results.json"

#: What rounding may change on another processor, relative to the largest figure (0.4 % was the most of three kernels).
TOLERANCE = 0.02

#: A recipe's usual rates throw the kit's network about until rounding decides where it lands; these do not.
GENTLE = {"learning_rate": 1e-4, "epochs": 2}

#: Models that need no download, with the parameters that make them load or be drawn here.
MODELS = {
    "linear": {},
    "mlp": {},
    "small-cnn": {},
    "resnet20": {"weights": "none"},
    "tiny-clip": {},
}
#: Everything else serves files or weights of somebody else, which the fingerprint holds by content or by name.
DATASETS = ("digits",)

#: Attacks of a library that need not be installed.
OF_A_LIBRARY = ("corruption",)


def offers():
    """Return the built-ins by role and name, each class once."""
    known = {(offer.role, offer.name): offer for offer in catalog().offers.values()}
    once = (offer for key, offer in sorted(known.items()) if key[0] != "surrogate" or ("victim", key[1]) not in known)
    return {f"{offer.role} {offer.name}": offer for offer in once}


def figures(tensor, count=4):
    """Return a few projections of each of the first images' values."""
    rows = tensor.detach().double().flatten(1)[:count]
    waves = torch.stack([torch.cos((place + 1) * 0.37 * torch.arange(rows.shape[1])) for place in range(3)])
    return (rows @ waves.double().T).flatten().tolist()


def of_attack(offer):
    network, images = fixtures.network(USUAL), fixtures.pictures(USUAL, 4)
    (norm, *_) = offer.component.norms
    task = USUAL.attack(norm if norm in ("L0", "patch") else "Linf", 4)
    with seeded_globally(0):
        moved = offer.build({}).craft(network, images.clone(), network(images).argmax(1), task)
    return figures(moved - images)


def of_defense(offer):
    known = parameters_of(offer.component)
    gentle = {key: value for key, value in GENTLE.items() if key in known}
    subject, images = Subject(offer.build(gentle)), fixtures.pictures(USUAL, 4)
    model = subject.fitted().model
    with seeded_globally(0), torch.no_grad():
        # What training moved, which a few steps leave small beside the answers themselves.
        before = subject.wrapped()(images) if trains(subject.component) else 0.0
        return figures(model(images) - before)


def of_certificate(offer):
    """Return which of some images are certified, from a radius where most are to one where few are."""
    subject = Subject(offer.build({}))
    model, images, labels = certificate_checks.case(subject)
    tasks = certificate_checks.tasks(subject)
    return [float(flag) for task in tasks for flag in certificate_checks.certify(subject, model, images, labels, task)]


def of_model(offer):
    with seeded_globally(0), torch.no_grad():
        return figures(offer.build(MODELS[offer.name]).load(USUAL.task()).eval()(fixtures.pictures(USUAL, 4)))


def of_dataset(offer):
    batch = next(offer.build({}).load("test")[:4].batches(4))
    return [*figures(batch.images), *map(float, batch.labels)]


def computed(name, offer):
    """Return what a built-in computes here; None where it needs files or weights that are not."""
    role = name.partition(" ")[0]
    if role == "attack":
        foreign = offer.component.undeclared or offer.component.made_elsewhere or offer.name in OF_A_LIBRARY
        return None if foreign else of_attack(offer)
    if role == "defense":
        return of_defense(offer)
    if role == "certificate":
        return None if offer.component.randomized else of_certificate(offer)  # smoothing has a test of its own
    if role == "victim" and offer.name in MODELS:
        return of_model(offer)
    return of_dataset(offer) if role == "dataset" and offer.name in DATASETS else None


def record():
    """Write the recorded results again."""
    rows = {}
    for name, offer in offers().items():
        found = computed(name, offer) if offer.component.__module__.partition(".")[0] in SHIPPED else None
        rounded = None if found is None else [float(f"{value:.6g}") for value in found]
        rows[name] = {"version": offer.component.version, "results": rounded}
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    RECORDED.write_text(f"{{\n{lines}\n}}\n")


KNOWN = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
AGAIN = "write tests/golden/results.json again with 'python tests/builtins/test_versions.py'"


def test_every_built_in_is_recorded_with_its_version():
    here = {name: offer.component.version for name, offer in offers().items()}
    assert here == {name: row["version"] for name, row in KNOWN.items()}, f"a version is new; {AGAIN}"


@pytest.mark.parametrize("name", [name for name, row in KNOWN.items() if row["results"] is not None])
def test_what_a_built_in_computes_is_what_its_version_computed(name):
    recorded, found = (
        torch.tensor(values).double() for values in (KNOWN[name]["results"], computed(name, offers()[name]))
    )
    gap = float((recorded - found).abs().max() / recorded.abs().max().clamp_min(1e-6))
    assert gap <= TOLERANCE, f"{name} computes something else (by {gap:.1%}): raise its version, then {AGAIN}"


def test_parameters_that_name_local_files_are_declared_so():
    for name, offer in offers().items():
        if offer.component.files is not Component.files:
            assert any(entry.path for entry in parameters_of(offer.component).values()), name


def test_the_figures_tell_one_radius_from_another():
    images = fixtures.pictures(USUAL, 4)
    one, other = (torch.tensor(figures(scale * (images - 0.5).sign())) for scale in (1.0, 1.06))
    assert float((one - other).abs().max() / one.abs().max()) > TOLERANCE


if __name__ == "__main__":
    sys.exit(record())
