"""Cards that a person can make with a text editor from real ones: verify, submit and the leaderboard each find them.

What a card contradicts itself in is found by whoever reads it. What is consistent in itself is found beside its
evidence; without that it is shown, and ranked, as what it is: reported.
"""

from __future__ import annotations

import base64
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import robench
from robench.cli import commands
from robench.errors import RobenchError
from robench.evidence import card_file
from robench.evidence.statistics import pack_bits, proportion

GOLDEN = Path(__file__).parents[1] / "golden"
UNDEFENDED, DEFENDED = "none-pgd", "tecoa-pgd"


@dataclass(frozen=True)
class Forgery:
    """Say what is edited, in which card, and what is said of it.

    Attributes:
        edit: changes the card's JSON; it is given the JSON of the other card too.
        says: what a reader says, or beside its evidence ``verify``.
        card: which card is edited.
        failed: edit one that the gate did not find VALID.
    """

    edit: Any
    says: str
    card: str = DEFENDED
    failed: bool = False


def check_of(raw, name):
    return next(one for one in raw["gate"]["checks"] if one["name"] == name)


def paste(raw, other):
    raw["cell"]["defense"], raw["training"] = other["cell"]["defense"], other["training"]
    raw["cell"]["undefended"] = False


def set_in(*path, to):
    def edit(raw, other):
        place = raw
        for key in path[:-1]:
            place = place[key]
        assert place[path[-1]] != to, "nothing would be forged"
        place[path[-1]] = to

    return edit


def in_check(name, **changes):
    return lambda raw, other: check_of(raw, name).update(changes)


def figure(name, **changes):
    return lambda raw, other: check_of(raw, name)["figures"].update(changes)


def said_to_pass(name, **changes):
    """Edit figures of a check that may have been on too few images in the real run."""

    def edit(raw, other):
        figure(name, **changes)(raw, other)
        in_check(name, status="pass")(raw, other)

    return edit


def acquit(raw, other):
    """Let every check pass and the verdict follow, as values and thresholds stay."""
    for one in raw["gate"]["checks"]:
        one["status"] = "pass" if one["status"] in ("suspect", "invalid") else one["status"]
    raw["gate"]["verdict"] = "VALID"


def drop(name):
    return lambda raw, other: raw["gate"]["checks"].remove(check_of(raw, name))


def scale(stage, count, factor):
    return lambda raw, other: raw["cost"][stage].update({count: int(raw["cost"][stage][count] * factor)})


def robust_as_clean(raw, other):
    raw["robust"] = {**raw["clean"], "artifact": raw["robust"]["artifact"]}


def one_more(raw, other):
    """Count one more image as right under attack, in bits, count and interval."""
    robust = raw["robust"]
    mask = [digit == "1" for digit in f"{int.from_bytes(base64.b64decode(robust['bits'])):064b}"[:60]]
    mask[mask.index(False)] = True
    low, high = proportion(sum(mask), 60)
    robust.update(bits=pack_bits(mask), correct=sum(mask), low=low, high=high)


#: What is found in the card itself, by whoever reads it.
IN_THE_CARD = {
    "another defense is pasted in": Forgery(paste, "but the cell that it claims (tiny-clip / tecoa", UNDEFENDED),
    "a parameter of the attack": Forgery(
        set_in("cell", "attack", "parameters", "steps", to=1000), "is not its parameter"
    ),
    "a parameter and its label": Forgery(
        lambda raw, other: [raw["cell"]["attack"][part].update(steps=1000) for part in ("parameters", "changed")],
        "(tiny-clip / tecoa[epochs=1] / pgd[steps=1000], white-box) has the id",
    ),
    "the label alone": Forgery(set_in("cell", "attack", "changed", "steps", to=1000), "pgd is shown with steps = 1000"),
    "the attack's name": Forgery(set_in("cell", "attack", "name", to="autoattack"), "has the id"),
    "a component's version": Forgery(set_in("cell", "defense", "version", to=9), "has the id"),
    "a component's code": Forgery(set_in("cell", "defense", "code", to="0" * 64), "has the id"),
    "the victim's name": Forgery(set_in("cell", "victim", "name", to="clip-vit-b32"), "has the id"),
    "the dataset's name": Forgery(set_in("cell", "dataset", "name", to="cifar10"), "has the id"),
    "a smaller ball claimed as a larger one": Forgery(set_in("cell", "threat", "eps", to=16 / 255), "has the id"),
    "the norm": Forgery(set_in("cell", "threat", "norm", to="L2"), "has the id"),
    "the seed": Forgery(set_in("cell", "seed", to=1), "has the id"),
    "the id": Forgery(set_in("id", to="0" * 64), "its id is 00000000, but the cell"),
    "versions of stages": Forgery(set_in("cell", "stages", "craft", to=1), "has the id"),
    "no versions of stages": Forgery(set_in("cell", "stages", to={}), "it states no versions of stages"),
    "a white-box card claims a surrogate": Forgery(
        lambda raw, other: raw["cell"].update(surrogate=raw["cell"]["victim"], surrogate_is_victim=True),
        "its access is white-box, but it names a surrogate",
    ),
    "a white-box card claims transfer": Forgery(
        lambda raw, other: (
            raw["cell"].update(surrogate=raw["cell"]["victim"], surrogate_is_victim=True),
            raw["cell"]["threat"].update(access="transfer"),
        ),
        "has the id",
    ),
    "a white-box card claims queries": Forgery(
        set_in("cell", "threat", "access", to="black-box"), "its access is black-box, but crafting took"
    ),
    "a defended victim claims to be undefended": Forgery(
        set_in("cell", "undefended", to=True), "it claims an undefended victim with 4,096 trained parameters"
    ),
    "evidence of another cell is named": Forgery(
        lambda raw, other: raw["robust"].update(artifact=other["robust"]["artifact"]), "evidence of another cell"
    ),
    "a status, its figures stay": Forgery(
        acquit, "the status of the check 'stronger attack' is pass, but its figures come to ", "tecoa-fgsm", failed=True
    ),
    "a status to skipped": Forgery(
        in_check("stronger attack", status="skipped"),
        "the status of the check 'stronger attack' is skipped",
        failed=True,
    ),
    "the verdict alone": Forgery(
        set_in("gate", "verdict", to="VALID"), "its verdict is VALID, but its checks come to SUSPECT", failed=True
    ),
    "a value": Forgery(
        in_check("stronger attack", value=0.0), "the value of the check 'stronger attack' is 0.0", failed=True
    ),
    "a threshold": Forgery(
        in_check("stronger attack", threshold="<= 80% of the images"), "the threshold of the check 'stronger attack'"
    ),
    "the images of a check": Forgery(in_check("gradients true", n=9999), "the n of the check 'gradients true' is 9999"),
    "a figure, its value stays": Forgery(
        figure("stronger attack", won=0), "of the check 'stronger attack' is", failed=True
    ),
    "a figure that the card has elsewhere": Forgery(
        figure("stronger attack", of=61), "the check 'stronger attack' weighs of = 61, but the card has 60"
    ),
    "no figures": Forgery(in_check("stronger attack", figures={}), "the check 'stronger attack' lacks figures"),
    "a loss that still rises": Forgery(
        figure("converged", moving=9, among=9, won=4, tried=4),
        "the status of the check 'converged' is pass, but its figures come to suspect",
    ),
    "images that stand at larger radii": Forgery(
        figure("accuracy falls with eps", rising=4, among=8),
        "the status of the check 'accuracy falls with eps' is pass, but its figures come to suspect",
    ),
    "images recognised where nothing can be": Forgery(
        figure("accuracy falls with eps", blinding=4, among=8),
        "the status of the check 'accuracy falls with eps' is pass, but its figures come to suspect",
    ),
    "a gap to validation images": Forgery(
        said_to_pass("generalisation gap", clean_others_right=0),
        "the status of the check 'generalisation gap' is pass, but its figures come to invalid",
    ),
    "a gap under attack to validation images": Forgery(
        said_to_pass("generalisation gap", robust_others=200, robust_others_right=0),
        "the status of the check 'generalisation gap' is pass, but its figures come to ",
    ),
    "test images that are easier than others": Forgery(
        said_to_pass("generalisation gap", compared=60, easier=50),
        "the status of the check 'generalisation gap' is pass, but its figures come to suspect",
    ),
    "an attack that does not work on the undefended victim": Forgery(
        figure("undefended victim falls", lost=0, others=0),
        "the status of the check 'undefended victim falls' is pass, but its figures come to suspect",
    ),
    "images of the undefended victim itself": Forgery(
        figure("undefended victim falls", lost=50),
        "the check 'undefended victim falls' weighs lost = 50, but the card has ",
        UNDEFENDED,
    ),
    "a check is left out": Forgery(drop("stronger attack"), "its gate lacks the check 'stronger attack'", failed=True),
    "a check stands twice": Forgery(
        lambda raw, other: raw["gate"]["checks"].append(raw["gate"]["checks"][0]), "its gate lists a check twice."
    ),
    "a gate of another version": Forgery(set_in("cell", "stages", "judge", to=5), "version 5 of the gate judged it"),
    "robust = clean": Forgery(robust_as_clean, "the check 'generalisation gap' weighs robust = "),
    "one more robust image": Forgery(one_more, "robust: "),
    "passes": Forgery(scale("craft", "forwards", 0.1), "the gate's share of passes is"),
    "the gate's passes": Forgery(scale("gate", "forwards", 3), "the gate's share of passes is"),
    "a fit without time": Forgery(set_in("cost", "fit", "seconds", to=0.0), "fit made "),
    "attacked images": Forgery(set_in("adversarial", "attacked", to=50), "50 images were attacked, but 56 were right"),
    "a perturbation beyond the ball": Forgery(set_in("adversarial", "largest", to=0.5), "the largest perturbation is"),
    "a weakness that the attack has not": Forgery(set_in("cell", "weakness", to="it takes one step"), "has the id"),
    "a stated accuracy": Forgery(set_in("model", "reference", to=0.5), "the reference clean accuracy is stated as "),
}

#: What is consistent in itself, and found beside the evidence.
BESIDE_EVIDENCE = {
    "trainable parameters": Forgery(
        set_in("training", "trainable", to=40), "trainable is 40 in the card, 4096 in the store"
    ),
    "seconds to fit": Forgery(
        set_in("cost", "fit", "seconds", to=0.01), "its cost is another in the store: seconds is 0.01"
    ),
    "seconds to craft": Forgery(
        set_in("cost", "craft", "seconds", to=0.01), "the cost of crafting is another in the store"
    ),
    "seconds to score": Forgery(
        set_in("cost", "score", "seconds", to=1e-6), "the cost of scoring is another in the store"
    ),
    "peak memory": Forgery(set_in("cost", "fit", "peak_bytes", to=1000), "peak_bytes is 1000 in the card"),
    "passes to fit": Forgery(scale("fit", "forwards", 0.5), "its cost is another in the store: forwards"),
    "a defense without gradients": Forgery(set_in("training", "gradient", to="none"), "gradient is none"),
    "the recipe": Forgery(set_in("training", "recipe", "loss", to="magic"), "recipe is "),
    "the training images": Forgery(set_in("data", "train", to="0" * 64), "the training images are others in the store"),
    "the victim's weights": Forgery(
        set_in("model", "victim", to="0" * 64), "the victim's weights are others in the store"
    ),
    "the defended weights": Forgery(
        set_in("model", "defended", to="0" * 64), "the weights have another digest in the store"
    ),
    "the adversarial images": Forgery(
        set_in("adversarial", "fingerprint", to="0" * 64), "fingerprint of the stored images"
    ),
    "images outside the ball": Forgery(set_in("adversarial", "excess", to=0.5), "excess is 0.5 in the card"),
    "labels among the top five": Forgery(
        lambda raw, other: raw["robust"].update(top5=raw["robust"]["top5"] - 1), "top5 is another in the store"
    ),
    "a figure with its value": Forgery(
        lambda raw, other: (figure("gradients true", count=1)(raw, other), _reweigh(raw, "gradients true")),
        "'gradients true' weighs count = 1, but 0 was found",
    ),
    "images that are no easier": Forgery(
        lambda raw, other: (figure("generalisation gap", easier=0)(raw, other), _reweigh(raw, "generalisation gap")),
        "'generalisation gap' weighs easier = 0, but ",
    ),
    "a harder gate": Forgery(
        set_in("gate", "level", to="thorough"), "what the gate tried at level thorough is not at hand"
    ),
}


def _reweigh(raw, name):
    from robench.evidence.check_rules import weigh

    one = check_of(raw, name)
    found = weigh(name, one["figures"])
    one.update(status=found.status, value=round(found.value, 9), threshold=found.threshold, n=found.n)


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    text: str


def said(*words) -> Said:
    """Run a command in this process, as the command line would end it."""
    done = CliRunner().invoke(commands.robench, [*map(str, words)])
    if isinstance(done.exception, RobenchError):
        return Said(2, " ".join(f"{done.output} {done.exception}".split()))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Said(done.exit_code, " ".join(done.output.split()))


@pytest.fixture(scope="module")
def honest(real_run, tmp_path_factory):
    """Return a leaderboard's folder with the real run's cards, submitted with their evidence."""
    folder = tmp_path_factory.mktemp("honest") / "cards"
    folder.mkdir()
    done = said("submit", *real_run.cards, "--store", real_run.store, "--to", folder)
    assert done.code == 0, done.text
    return folder


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """Return real cards that the gate did not find VALID: of eight images, too few to say anything."""
    folder = tmp_path_factory.mktemp("failing")
    with tarfile.open(GOLDEN / "release.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def forged(forgery, name, honest, failing, tmp_path):
    """Return a copy of the cards' folder in which one card is forged, and that card's path."""
    source = failing / "cards" if forgery.failed else honest
    folder = tmp_path / "cards"
    shutil.copytree(source, folder)
    (path,) = folder.glob(f"*{forgery.card}-Linf*.json")
    (other,) = folder.glob(f"*{UNDEFENDED if forgery.card == DEFENDED else DEFENDED}-Linf*.json")
    raw = json.loads(path.read_text())
    before = json.dumps(raw)
    forgery.edit(raw, json.loads(other.read_text()))
    assert json.dumps(raw) != before, "nothing was forged"
    path.write_text(json.dumps(raw))
    return folder, path


@pytest.mark.parametrize("name", IN_THE_CARD)
def test_what_contradicts_itself_is_found_by_whoever_reads_it(name, honest, failing, real_run, tmp_path):
    forgery = IN_THE_CARD[name]
    folder, path = forged(forgery, name, honest, failing, tmp_path)
    (tmp_path / "theirs").mkdir()

    for words in (("verify", path), ("submit", path, "--to", tmp_path / "theirs", "--reported"), ("explain", path)):
        done = said(*words)
        assert (done.code, f"{path} contradicts itself: " in done.text) == (2, True), done.text
        assert forgery.says in done.text
    assert not list((tmp_path / "theirs").iterdir())

    done = said("leaderboard", folder, "-o", tmp_path)
    assert done.code == 0, done.text
    assert f"warning: left out: {path} contradicts itself: " in done.text
    assert forgery.says in done.text
    page = json.loads((tmp_path / "leaderboard.json").read_text())
    assert path.name not in {
        attack["card"] for board in page["boards"] for row in board["rows"] for attack in row["attacks"]
    }


@pytest.mark.parametrize("name", BESIDE_EVIDENCE)
def test_what_is_consistent_in_itself_is_found_beside_its_evidence(name, honest, failing, real_run, tmp_path):
    forgery = BESIDE_EVIDENCE[name]
    folder, path = forged(forgery, name, honest, failing, tmp_path)
    (tmp_path / "theirs").mkdir()
    card_file.read(path)  # nothing in the card itself says so

    done = said("verify", path, "--store", real_run.store)
    assert forgery.says in done.text
    if "not at hand" not in forgery.says:
        assert done.code == 1
        assert "does not repeat. It does not verify" in done.text

    done = said("submit", path, "--store", real_run.store, "--to", tmp_path / "theirs")
    assert (done.code, "is not taken: " in done.text) == (2, True), done.text
    assert forgery.says in done.text
    assert not list((tmp_path / "theirs").iterdir())

    # Whoever attested the true card attested nothing of this one.
    done = said("leaderboard", folder, "-o", tmp_path, "--require", "checked")
    assert done.code == 0, done.text
    rows = {
        row["title"]: row
        for board in json.loads((tmp_path / "leaderboard.json").read_text())["boards"]
        for row in board["rows"]
    }
    theirs = [row for row in rows.values() if path.name in {attack["card"] for attack in row["attacks"]}]
    assert [(row["rank"], row["evidence"]["level"]) for row in theirs] == [(None, "reported")]
    assert any("Its evidence is: reported. Only rows are ranked" in reason for reason in theirs[0]["reasons"])


@pytest.fixture(scope="module")
def weak(tmp_path_factory):
    """Return the folder of a real run's card whose attack is weak as published, with its store beside it."""
    root = tmp_path_factory.mktemp("weak")
    attack = "pgd[steps=2,step_size=8/255,as_published=true]"
    options = {"attack": attack, "eps": "8/255", "n": 20, "gate": "quick", "device": "cpu"}
    (card,) = robench.run(victim="tiny-clip", defense="none", store=root / "store", **options)
    assert "a step as large as the ball" in card.cell.weakness
    (root / "cards").mkdir()
    card_file.write(card, root / "cards")
    return root


@pytest.mark.parametrize(
    "edit",
    [
        set_in("cell", "weakness", to=""),
        lambda raw, other: (
            raw["cell"].update(weakness=""),
            raw["cell"]["attack"]["parameters"].update(as_published=False),
            raw["cell"]["attack"]["changed"].pop("as_published"),
        ),
        lambda raw, other: (
            raw["cell"].update(weakness=""),
            raw["cell"]["attack"].update(left_out=[*raw["cell"]["attack"].get("left_out", []), "as_published"]),
        ),
    ],
    ids=["weakness", "and as_published", "as_published as if it entered no id"],
)
def test_a_row_cannot_be_rid_of_the_weakness_of_its_attack(edit, weak, tmp_path):
    shutil.copytree(weak / "cards", tmp_path / "cards")
    (path,) = (tmp_path / "cards").glob("*.json")
    (tmp_path / "theirs").mkdir()
    assert said("verify", path, "--store", weak / "store").code == 0
    raw = json.loads(path.read_text())
    edit(raw, raw)
    path.write_text(json.dumps(raw))
    store = ("--store", weak / "store")
    for words in (("verify", path, *store), ("submit", path, "--to", tmp_path / "theirs", *store), ("explain", path)):
        done = said(*words)
        assert (done.code, f"{path} contradicts itself: " in done.text, "has the id" in done.text) == (2, True, True)
    assert not list((tmp_path / "theirs").iterdir())
    done = said("leaderboard", tmp_path / "cards", "-o", tmp_path)
    assert f"left out: {path} contradicts itself: " in done.text


def test_other_words_for_a_weakness_rank_no_row_and_are_found_by_verify(weak, tmp_path):
    shutil.copytree(weak / "cards", tmp_path / "cards")
    (path,) = (tmp_path / "cards").glob("*.json")
    raw = json.loads(path.read_text())
    raw["cell"]["weakness"] = "none to speak of"
    path.write_text(json.dumps(raw))
    done = said("verify", path, "--store", weak / "store")
    assert (done.code, "weakness is none to speak of, not as published" in done.text) == (1, True), done.text
    said("leaderboard", tmp_path / "cards", "-o", tmp_path)
    (board,) = json.loads((tmp_path / "leaderboard.json").read_text())["boards"]
    assert [row["rank"] for row in board["rows"]] == [None]


def test_there_are_enough_kinds():
    assert len({**IN_THE_CARD, **BESIDE_EVIDENCE}) >= 50


def test_honest_cards_pass_all_three(honest, real_run, tmp_path):
    for path in sorted(honest.glob("*.json")):
        done = said("verify", path, "--store", real_run.store)
        assert (done.code, f"{path} is identical." in done.text) == (0, True), done.text
    done = said("leaderboard", honest, "-o", tmp_path, "--require", "checked")
    assert (done.code, "warning" in done.text) == (0, False), done.text
    (board,) = json.loads((tmp_path / "leaderboard.json").read_text())["boards"]
    assert [(row["rank"], row["evidence"]["level"]) for row in board["rows"]] == [(1, "checked"), (2, "checked")]


def test_the_failing_card_is_one_of_a_real_run(failing):
    for attack in ("fgsm", "pgd"):
        (path,) = (failing / "cards").glob(f"*tecoa-{attack}*.json")
        gate = card_file.read(path).gate
        found = {one.name for one in gate.checks if one.status == "suspect"}
        assert (gate.verdict, found >= {"stronger attack"}) == ("SUSPECT", True)


def test_without_evidence_a_card_is_reported_and_says_so(honest, real_run, tmp_path):
    folder = tmp_path / "cards"
    folder.mkdir()
    (path,) = honest.glob("*tecoa-pgd*.json")
    nowhere = ("--store", tmp_path / "nowhere", "--to", folder)
    done = said("submit", path, *nowhere)
    assert done.code == 2
    assert (
        "its numbers were checked against no evidence (clean outcomes, robust outcomes, fit, gate's probes, "
        "adversarial set: not at hand). Give its store with --store, or a bundle; or submit it as what it is, with "
        "--reported."
    ) in done.text
    done = said("submit", path, *nowhere, "--reported")
    assert (done.code, "(reported: no evidence was checked)" in done.text) == (0, True), done.text
    assert [each.name for each in folder.iterdir()] == [path.name]
    said("leaderboard", folder, "-o", tmp_path)
    page = (tmp_path / "LEADERBOARD.md").read_text()
    assert "| VALID | reported |" in page
    assert "Rows of every level of evidence are ranked, reported ones too (--require reported)." in page
