"""Where a card's number came from, in names and values, and the command that gives it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from robench.contracts.search_precision import EXACT
from robench.contracts.threat_model import format_eps, parse_eps
from robench.evidence.card import Card, ComponentRecord, Scalar
from robench.plan.cell import SELF
from robench_leaderboard.render.formatting import parameters


def repeat_command(card: Card) -> str:
    """Return the command line that asks for this card's cell; every word is quoted for a shell."""
    cell = card.cell
    words = ["robench", "run"]
    for option, part in (
        ("--dataset", cell.dataset),
        ("--victim", cell.victim),
        ("--defense", cell.defense),
        ("--attack", cell.attack),
    ):
        words += [option, _reference(part)]
    if cell.trained_on is not None:
        words += ["--train-dataset", _reference(cell.trained_on)]
    if cell.surrogate is not None:
        words += ["--surrogate", SELF if cell.surrogate_is_victim else _reference(cell.surrogate)]
    for record in card.certificates:
        words += ["--certificate", _reference(record.certificate)]
    if cell.precision != EXACT:
        words += ["--precision", cell.precision]
    words += ["--norm", cell.threat.norm, "--eps", _radius(cell.threat.eps), "--seed", str(cell.seed)]
    # A request without --n took the whole split; naming its size would be another request.
    if cell.given.get("n") is not None:
        words += ["--n", str(cell.n)]
    named = [
        part for part in (cell.dataset, cell.victim, cell.defense, cell.attack, cell.surrogate) if part is not None
    ]
    named += [record.certificate for record in card.certificates]
    for part in (*named, *cell.loads):
        if part in cell.loads or not _brackets(part):
            # The dataset that was trained on may have the same name.
            owner = "dataset" if part is cell.dataset and cell.trained_on is not None else part.name
            words += _options(owner, part)
    if cell.trained_on is not None and not _brackets(cell.trained_on):
        words += _options("train-dataset", cell.trained_on)
    return shlex.join(words)


def _options(owner: str, part: ComponentRecord) -> list[str]:
    return [word for pair in _pairs(part) for word in ("-p", f"{owner}.{pair}")]


def _reference(part: ComponentRecord) -> str:
    return f"{part.name}[{','.join(_pairs(part))}]" if part.changed and _brackets(part) else part.name


def _brackets(part: ComponentRecord) -> bool:
    """Say whether the changed values can stand in brackets, where a comma separates two of them."""
    return not any(set(",[]") & set(_written(value)) for value in part.changed.values())


def _pairs(part: ComponentRecord) -> list[str]:
    return [f"{key}={_written(value)}" for key, value in sorted(part.changed.items())]


def _written(value: Scalar) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _radius(eps: float) -> str:
    short = format_eps(eps)
    return short if parse_eps(short, "L2") == eps else repr(eps)


def provenance(card: Card) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield groups of (name, value): the request, the software, the fingerprints."""
    cell, made, model = card.cell, card.environment, card.model
    parts = {
        "dataset": cell.dataset,
        "trained on": cell.trained_on,
        "victim": cell.victim,
        "defense": cell.defense,
        "attack": cell.attack,
        "surrogate": cell.surrogate,
    }
    named = [(role, _component(part)) for role, part in parts.items() if part is not None]
    yield "Components", named if cell.precision == EXACT else [*named, ("searched in", str(cell.precision))]
    revision = f"{made.revision[:12]}{' with uncommitted changes' if made.dirty else ''}" or "not a checkout"
    yield (
        "Made with",
        [
            ("robench", f"{made.robench}, revision {revision}"),
            ("Python", f"{made.python} on {made.platform}"),
            ("packages", ", ".join(f"{name} {version}" for name, version in sorted(made.packages.items()))),
            ("device", f"{made.device}, {made.dtype}, {'TF32, ' if made.tf32 else ''}{made.threads} threads"),
            ("loaded", "; ".join(model.loading) or "as it was saved"),
            ("inference", ", ".join(model.inference) or "as loaded"),
            ("recorded", card.created),
        ],
    )
    yield (
        "Fingerprints",
        [
            ("cell", card.id),
            ("test images", card.data.test),
            ("training images", card.data.train or "none used"),
            ("victim's weights", model.victim),
            ("defended weights", model.defended),
            ("adversarial images", card.adversarial.fingerprint),
            ("code of the defense", cell.defense.code),
            ("code of the attack", cell.attack.code),
        ],
    )


def _component(part: ComponentRecord) -> str:
    return f"{part.name} (version {part.version}, {part.plugin}): {parameters(part.parameters) or 'no parameters'}"
