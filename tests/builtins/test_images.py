"""Anyone's images: taken as they are or refused with what is wrong, and judged as the library that made them says."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robench import DataError, Examples, Task, ThreatModel, load_test
from robench.api import run
from robench.plan.spec import Spec, plan
from robench_builtins.attacks.images import Images
from robench_leaderboard import boards, render_markdown

torchattacks = pytest.importorskip("torchattacks")
EPS, N = 16 / 255, 60

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)
        )

    def forward(self, images):
        return self.layers((images - 0.5) / 0.25)

def build():
    return Net()
"""


@pytest.fixture(scope="module")
def trained(once):
    """Return a folder with a small network, trained on digits, and what torchattacks makes of 60 test images."""

    def fill(folder):
        (folder / "net.py").write_text(SOURCE)
        space: dict = {}
        exec(SOURCE, space)  # noqa: S102 - the source above
        torch.manual_seed(0)
        net: nn.Module = space["build"]()
        from robench_builtins.datasets.digits import Digits

        train = Digits().load("train")
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        for epoch in range(4):
            for images, labels, _ in train.batches(64, shuffle=torch.Generator().manual_seed(epoch)):
                loss = nn.functional.cross_entropy(net(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        save_file(net.state_dict(), folder / "net.safetensors")
        batch = next(load_test("digits", n=N).batches(N))
        net.eval()
        for name, attack in (
            ("pgd", torchattacks.PGD(net, eps=EPS, alpha=EPS / 4, steps=10)),
            ("fgsm", torchattacks.FGSM(net, eps=EPS)),
        ):
            moved = attack(batch.images, batch.labels)
            with torch.no_grad():
                right = net(moved).argmax(1) == batch.labels
            np.savez(folder / f"{name}.npz", positions=np.arange(N), images=moved.numpy())
            np.save(folder / f"{name}-right.npy", right.numpy())
        for name, found in others(net, batch.images, batch.labels).items():
            np.savez(folder / f"{name}.npz", positions=np.arange(N), images=found[0])
            np.save(folder / f"{name}-right.npy", found[1])
        with torch.no_grad():
            np.save(folder / "clean-right.npy", (net(batch.images).argmax(1) == batch.labels).numpy())

    return once("torchattacks-images", fill)


def others(net, images, labels):
    """Return by library its images and which of them, as it says, the network still gets right."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both use what NumPy and SciPy deprecate
        if find_spec("foolbox"):
            import foolbox

            seen = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
            criterion = foolbox.criteria.Misclassification(labels)
            _, moved, fooled = foolbox.attacks.LinfPGD(steps=10, random_start=False)(
                seen, images, criterion, epsilons=EPS
            )
            found["foolbox"] = moved.numpy(), ~fooled.numpy()
        if find_spec("art"):
            from art.attacks.evasion import MomentumIterativeMethod
            from art.estimators.classification import PyTorchClassifier

            shape = tuple(images.shape[1:])
            seen = PyTorchClassifier(net, nn.CrossEntropyLoss(), shape, 10, clip_values=(0.0, 1.0), device_type="cpu")
            attack = MomentumIterativeMethod(seen, eps=EPS, eps_step=EPS / 4, max_iter=10, verbose=False)
            moved = attack.generate(images.numpy(), labels.numpy())
            found["art"] = moved, seen.predict(moved).argmax(1) == labels.numpy()
    return found


@pytest.fixture
def measured(trained, tmp_path):
    """Return a function that measures the network under attacks, with a store and a folder of its own."""

    def go(*attacks, **request):
        victim = {"file.weights": str(trained / "net.safetensors")}
        return run(
            dataset="digits", victim=f"{trained / 'net.py'}:build", attack=attacks, eps="16/255", n=N, gate="quick",
            store=tmp_path / "store", device="cpu", parameters=victim | request.pop("parameters", {}), **request,
        )  # fmt: skip

    return go


@pytest.mark.parametrize("name", ["pgd", "fgsm", "foolbox", "art"])
def test_each_image_is_judged_as_the_library_that_made_it_says(trained, measured, name):
    if not (trained / f"{name}.npz").is_file():
        pytest.skip(f"{name} is not installed")
    (card,) = measured(f"images:{trained / name}.npz")
    clean = np.load(trained / "clean-right.npy")
    # What was wrong already is not attacked: it counts as lost whatever the library made of it.
    assert card.robust.mask() == (np.load(trained / f"{name}-right.npy") & clean).tolist()
    assert card.clean.mask() == clean.tolist()
    assert 0 < card.robust.correct < card.clean.correct, "some fall and some stand, or nothing is shown"
    assert card.cell.made_elsewhere
    assert card.cell.attack.label == f"images[path={name}.npz]"


def test_they_lower_a_row_and_make_none(trained, measured):
    (own,) = measured("fgsm")
    (given,) = measured(f"images:{trained / 'pgd.npz'}")
    alone = boards([given])[0]
    assert not alone.ranked
    assert alone.unranked[0].headline is None
    (board,) = boards([own, given])
    (row,) = board.rows
    both = [a and b for a, b in zip(own.robust.mask(), given.robust.mask(), strict=True)]
    assert row.headline.correct == sum(both) < own.robust.correct
    assert row.verdict == boards([own])[0].rows[0].verdict, "weak or strong, they accuse nobody"
    fell = own.robust.correct - sum(both)
    sentence = f"{fell} of {own.robust.correct} images that stood under all else fall to images[path=pgd.npz], made"
    assert row.broken[0].startswith(f"none: {sentence}")
    assert "made elsewhere" in render_markdown([own, given])


def test_no_other_row_is_expected_to_meet_them(trained, measured):
    cards = [*measured("fgsm"), *measured("fgsm", seed=1), *measured(f"images:{trained / 'pgd.npz'}")]
    assert not any(row.missing for row in boards(cards)[0].rows)


def test_the_id_follows_from_the_content_of_the_file(trained, tmp_path):
    copy = tmp_path / "elsewhere.npz"
    copy.write_bytes((trained / "pgd.npz").read_bytes())

    def cell(path):
        return plan(Spec(dataset="digits", victim=("tiny-clip",), attack=(f"images:{path}",), n=N))[0].score_id

    assert cell(copy) == cell(trained / "pgd.npz") != cell(trained / "fgsm.npz")


def test_no_surrogate_is_asked_for_images_that_are_made(trained):
    spec = Spec(dataset="digits", victim=("tiny-clip",), attack=(f"images:{trained / 'pgd.npz'}",), surrogate=("self",))
    assert [cell.threat.access for cell in plan(spec)] == ["black-box"]


# What is refused

DRAWN = torch.randint(0, 256, (6, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TEST = Examples.from_tensors(DRAWN, torch.tensor([0, 1, 2, 0, 1, 2]))
CLEAN = next(TEST.batches(6)).images
TASK = Task(classes=("a", "b", "c"), shape=(3, 4, 4), threat_model=ThreatModel("Linf", 8 / 255))


def arrays(positions=(0, 3), images=None, **more):
    moved = (CLEAN[list(positions)] + 4 / 255).clamp(0, 1).numpy() if images is None else images
    return {"positions": np.asarray(positions), "images": moved, **more}


def changed(place, value):
    images = arrays()["images"].copy()
    images[place, 0, 0, 0] = value
    return images


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (arrays(positions=(0, 6), images=CLEAN[:2].numpy()), "FILE names position 6, but the test set of this run"),
        (arrays(positions=(0, -1), images=CLEAN[:2].numpy()), "FILE names position -1, but the test set"),
        (arrays(positions=(3, 3)), "FILE names position 3 twice; give one image a position"),
        (arrays(positions=(0.0, 1.0), images=CLEAN[:2].numpy()), "FILE has positions float64 (2,) for images (2, 3, "),
        (arrays(positions=(0, 1, 2), images=CLEAN[:2].numpy()), "FILE has positions int64 (3,) for images (2, 3, 4"),
        (arrays(images=CLEAN[:2].double().numpy()), "FILE has images float64 (2, 3, 4, 4); save positions (N,)"),
        (arrays(images=CLEAN[:2, 0].numpy()), "FILE has images float32 (2, 4, 4); save positions"),
        (arrays(images=np.zeros((2, 3, 8, 8), np.uint8)), "FILE has images of 3x8x8, and the test images are 3x4x4"),
        (arrays(images=np.zeros((2, 1, 4, 4), np.uint8)), "FILE has images of 1x4x4, and the test images are 3x4x4"),
        (arrays(images=changed(1, np.nan)), "FILE has NaN or infinite pixels in 1 images, such as the one at po"),
        (arrays(images=changed(1, np.inf)), "FILE has NaN or infinite pixels in 1 images"),
        (arrays(images=changed(0, 1.25)), "FILE leaves [0, 1] in 1 images, by up to 0.25 (the one at position"),
        (arrays(images=changed(0, -0.5)), "FILE leaves [0, 1] in 1 images, by up to 0.5 (the one at position 0)"),
        (arrays(images=255 * arrays()["images"]), "FILE leaves [0, 1] in 2 images, by up to 25"),
        (arrays(images=CLEAN[[0, 3]].numpy()), "FILE moves no image: all 2 are the clean ones of the test set."),
        (arrays(images=CLEAN[[1, 4]].numpy()), "is nearer, 0 away: positions count the images of another --n"),
        ({"images": CLEAN[:2].numpy()}, "FILE has no array 'positions' (it holds images); save positions (N,)"),
        ({"x": CLEAN[:2].numpy(), "positions": np.arange(2)}, "FILE has no array 'images' (it holds positions); save"),
        (arrays(positions=(), images=CLEAN[:0].numpy()), "FILE has positions float64 (0,) for images (0, 3, 4, 4)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_by_how_much(tmp_path, content, sentence):
    file = tmp_path / "given.npz"
    np.savez(file, **content)
    with pytest.raises(DataError) as caught:
        Images(path=str(file)).fits(TEST, TASK)
    assert sentence in str(caught.value).replace(str(file), "FILE")


@pytest.mark.parametrize(("norm", "eps", "far"), [("Linf", 8 / 255, "0.03922"), ("L2", 0.2, "0.2717")])
def test_out_of_the_ball_is_refused_and_never_projected(tmp_path, norm, eps, far):
    images = CLEAN[:2] + torch.where(CLEAN[:2] > 0.5, -10 / 255, 10 / 255)
    np.savez(tmp_path / "given.npz", positions=np.arange(2), images=images.numpy())
    with pytest.raises(DataError) as caught:
        Images(path=str(tmp_path / "given.npz")).fits(TEST, TASK.replace(threat_model=ThreatModel(norm, eps)))
    assert "leaves the ball in 2 of these images: the one at position " in str(caught.value)
    assert f" is {far} from test image " in str(caught.value)
    assert f"in {norm}, and eps is {eps:.4g}; nothing is projected" in str(caught.value)


def test_images_of_something_else_are_told_from_a_wrong_order(tmp_path):
    np.savez(tmp_path / "given.npz", positions=np.arange(2), images=1 - CLEAN[:2].numpy())
    with pytest.raises(DataError, match="made from other images than this test set's"):
        Images(path=str(tmp_path / "given.npz")).fits(TEST, TASK)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_both_files_and_both_types_are_read(tmp_path, suffix, dtype):
    moved = (CLEAN[[4, 1]] + torch.where(CLEAN[[4, 1]] > 0.5, -4 / 255, 4 / 255)).clamp(0, 1)
    given = (255 * moved).round().to(torch.uint8) if dtype == "uint8" else moved
    file = tmp_path / f"given{suffix}"
    positions = torch.tensor([4, 1])
    if suffix == ".npz":
        np.savez(file, positions=positions.numpy(), images=given.numpy())
    else:
        save_file({"positions": positions, "images": given}, file)
    attack = Images(path=str(file))
    attack.fits(TEST, TASK)
    got = attack.craft(None, CLEAN[[0, 1, 4]], None, TASK.replace(indices=[0, 1, 4]))
    assert torch.equal(got[0], CLEAN[0]), "what the file does not name stays clean"
    assert torch.allclose(got[1:], moved[[1, 0]], atol=1e-7)
    nothing = TASK.replace(indices=[1, 4], threat_model=ThreatModel("Linf", 0.0))
    assert torch.equal(attack.craft(None, CLEAN[[1, 4]], None, nothing), CLEAN[[1, 4]])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.npz", None, "There is no file "),
        ("given.npy", b"x", "is neither .npz nor .safetensors; save positions (N,)"),
        ("given.npz", b"PK nonsense", "cannot be read ("),
        ("given.safetensors", b"nonsense", "cannot be read ("),
    ],
)
def test_files_that_are_none(tmp_path, name, content, sentence):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        Images(path=str(file)).fits(TEST, TASK)
    assert sentence in str(caught.value)


def test_pickles_are_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was run",))

    np.savez(tmp_path / "given.npz", positions=np.array([Trap()], dtype=object), images=CLEAN[:1].numpy())
    with pytest.raises(DataError, match="cannot be read"):
        Images(path=str(tmp_path / "given.npz")).fits(TEST, TASK)


def test_a_run_refuses_them_as_a_whole(trained, measured, tmp_path):
    with np.load(trained / "pgd.npz") as file:
        images = file["images"].copy()
    images[3] = 1 - images[3]
    np.savez(tmp_path / "bad.npz", positions=np.arange(N), images=images)
    with pytest.raises(DataError, match="leaves the ball in 1 of these images: the one at position 3 is"):
        measured(f"images:{tmp_path / 'bad.npz'}")


def test_a_file_must_be_named(measured):
    with pytest.raises(DataError, match="images needs the file of positions and images: write attack images:FILE"):
        measured("images")
