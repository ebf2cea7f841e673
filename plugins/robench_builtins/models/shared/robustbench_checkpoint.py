"""Read a checkpoint of RobustBench into its network; imported only where torch is wanted."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from robench import Classifier, Preprocess, Task, WeightsError
from robench_builtins.models.shared.checkpoint_layouts import State, fitted
from robench_builtins.models.shared.robustbench_networks import PerImage, build
from robench_builtins.models.shared.robustbench_zoo import STATISTICS, Entry
from robench_builtins.models.shared.state_dict import read_state
from robench_builtins.offline import offline

#: Where networks keep what they subtract and divide by.
_MEANS = ("mu", "mean", "normalize.mean")
_SPREADS = ("sigma", "std", "normalize.std")
#: Heads that only training used.
_TRAINING_ONLY = "model_preact_hl"
CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}


def load(entry: Entry, checkpoint: Path | None, task: Task) -> Classifier:
    """Return the classifier of an entry, from a local file or from the zoo's."""
    if entry.data != "imagenet" and task.shape != (3, 32, 32):
        shown = " x ".join(map(str, task.shape))
        raise WeightsError(
            f"RobustBench's {entry.name} classifies images of 3 x 32 x 32, and the dataset's are {shown}; choose "
            "--dataset cifar10, or a size that fits with -p dataset.size=32."
        )
    place = checkpoint if checkpoint is not None else fetched(entry)
    network, state = _network(entry), read_state(place, "victim.checkpoint", whole=True)
    state, mean, spread = _split(state)
    state = fitted(state, [name for name in network.state_dict() if not name.endswith("num_batches_tracked")])
    _fill(network, state, entry, place)
    if hasattr(network, "sub_block1"):
        del network.sub_block1
        task.note(f"{place}: sub_block1 left out, which no forward uses")
    task.note(state.noted(str(place)))
    return Classifier(network.float(), CLASSES[entry.data], _preprocess(entry, mean, spread, place, task)).eval()


def fetched(entry: Entry) -> Path:
    """Return the zoo's file, from torch hub's cache where it is there; its folders are those of RobustBench."""
    cached = Path(torch.hub.get_dir()) / "robustbench" / entry.path
    if cached.is_file():
        return cached
    way = f"download {entry.page}, put it at {cached} or pass -p victim.checkpoint=FILE."
    if offline():
        raise WeightsError(f"The weights of {entry.name} are not at {cached} and the run is offline; {way}")
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(entry.url, str(cached), progress=False)
        with cached.open("rb") as file:
            page = file.read(1) == b"<"
    except Exception as error:  # the network and the disk each raise their own kinds
        raise WeightsError(f"The weights of {entry.name} could not be downloaded ({error}); {way}") from error
    if page:
        cached.unlink()
        raise WeightsError(f"Google Drive answered with a page in place of the weights of {entry.name}; {way}")
    return cached


def _network(entry: Entry) -> nn.Module:
    """Return the network as it is drawn; the generator of the process is left where it was."""
    with torch.random.fork_rng(devices=[]):
        if entry.family != "torchvision":
            return build(entry.family, entry.arguments, CLASSES[entry.data])
        from torchvision import models

        network: nn.Module = models.get_model(entry.arguments[0], weights=None)
        return network


def _split(state: State) -> tuple[State, Tensor | None, Tensor | None]:
    """Return the tensors of the network, and the mean and deviation that lie with them."""
    kept = State({name: value for name, value in state.items() if not name.startswith(_TRAINING_ONLY)})
    found: dict[bool, Tensor] = {}
    for name in list(kept):
        short = name.removeprefix("module.").removeprefix("model.")
        if short in (*_MEANS, *_SPREADS):
            found[short in _MEANS] = kept.pop(name)
    dropped = len(state) - len(kept) - len(found)
    kept.unwrapped, kept.lightning = state.unwrapped, state.lightning
    if dropped:
        kept.unwrapped += (f"{dropped} tensors of heads that only training used left out",)
    return kept, found.get(True), found.get(False)


def _fill(network: nn.Module, state: State, entry: Entry, place: Path) -> None:
    """Load the tensors, all of them; counters of batch norms, which old files lack, count nothing in eval mode."""
    try:
        report = network.load_state_dict(state, strict=False)
        missing = [name for name in report.missing_keys if not name.endswith("num_batches_tracked")]
        extra = list(report.unexpected_keys)
        wrong = f"it lacks {missing[0]}" if missing else f"it also has {extra[0]}" if extra else ""
    except RuntimeError as error:
        wrong = " ".join(str(error).split())[:300]
    if wrong:
        kind = " ".join([entry.family, *entry.arguments])
        raise WeightsError(
            f"{place} is not laid out as RobustBench's {entry.name} ({kind}): {wrong}; give that model's own file, "
            f"{entry.page}."
        )


def _preprocess(entry: Entry, mean: Tensor | None, spread: Tensor | None, place: Path, task: Task) -> nn.Module | None:
    if entry.normalisation == "per-image":
        return PerImage()
    if mean is not None and spread is not None:
        task.note(f"{place}: normalised as stored with the weights")
        return Preprocess(mean.float().flatten().tolist(), spread.float().flatten().tolist())
    if entry.normalisation == "stored":
        raise WeightsError(f"{place} holds no mu and sigma, by which RobustBench's {entry.name} normalises images.")
    return Preprocess(*STATISTICS[entry.normalisation]) if entry.normalisation else None
