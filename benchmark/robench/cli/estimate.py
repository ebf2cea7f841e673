"""What a planned grid costs: time from measured passes per second, disk, money; for ``robench run --dry-run``."""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.cli.values import in_bytes
from robench.contracts.search_precision import EXACT
from robench.errors import SpecError
from robench.evidence.files import read_bounded
from robench.runtime.cell_count import in_words

if TYPE_CHECKING:
    from robench.evidence.store import Store

#: Bytes of a float32 pixel, which is how adversarial images are stored, before they are compressed.
PIXEL = 4
MOST_BYTES = 1_000_000
_FORM = "write passes_per_second = {VICTIM = 900} and price = 2.5 (an hour), as docs/clusters.md does"


@dataclass(frozen=True)
class Rates:
    """Hold passes per second (forwards and backwards of one image) by victim, where from, and the price of an hour."""

    by_victim: Mapping[str, float]
    price: float | None = None
    source: Mapping[str, str] = field(default_factory=dict)
    #: Channels, height and width of a dataset's images, where the store has cards of it.
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def read_rates(file: Path | None) -> Rates:
    """Return the rates that a user's table gives, if there is one; SpecError where it says something else."""
    if file is None:
        return Rates({})
    try:
        content = tomllib.loads(read_bounded(file, "table of rates", "a TOML file", MOST_BYTES, SpecError).decode())
    except ValueError as error:
        raise SpecError(f"--rates {file} is no TOML file ({error}); {_FORM}.") from None
    unknown = sorted(set(content) - {"passes_per_second", "price"})
    table, price = content.get("passes_per_second", {}), content.get("price")
    if unknown or not isinstance(table, dict):
        raise SpecError(f"--rates {file}: {', '.join(unknown) or 'passes_per_second'} is not understood; {_FORM}.")
    for name, value in [*table.items(), *([("price", price)] if price is not None else [])]:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise SpecError(f"--rates {file}: {name} = {value!r} is no number above 0; {_FORM}.")
    return Rates({name: float(value) for name, value in table.items()}, price, dict.fromkeys(table, f"from {file}"))


def known_rates(store: Store, device: str, given: Rates) -> Rates:
    """Return the rates of the store's cards on this kind of device; those of a user's table come before them."""
    stored = stored_rates(store, device.partition(":")[0])
    by_victim, source = {**stored.by_victim, **given.by_victim}, {**stored.source, **given.source}
    return Rates(by_victim, given.price, source, stored.shapes)


def stored_rates(store: Store, kind: str) -> Rates:
    """Return the rates at which stored cards were crafted on this kind of device, in float32: the lowest."""
    passes, seconds, cards = defaultdict[str, int](int), defaultdict[str, float](float), Counter[str]()
    shapes: dict[str, tuple[int, ...]] = {}
    for card in _cards(store):
        shapes[card.cell.dataset.name] = tuple(card.data.shape)
        on_it = card.environment.device.startswith(kind) and card.cell.precision == EXACT
        if on_it and card.cost.craft.seconds > 0:
            name = card.cell.victim.name
            passes[name] += card.cost.craft.forwards + card.cost.craft.backwards
            seconds[name] += card.cost.craft.seconds
            cards[name] += 1
    return Rates(
        {name: passes[name] / seconds[name] for name in passes if passes[name]},
        source={name: f"from {number} stored cards" for name, number in cards.items()},
        shapes=shapes,
    )


def _cards(store: Store) -> Iterator[Any]:
    from robench.evidence.card_file import FILE
    from robench.pipeline.card_cache import CARDS

    for path in sorted(store.root.glob(f"{CARDS}/??/*")):
        card = FILE.stored(store.get(CARDS, path.name))
        if card is not None:
            yield card


@dataclass
class Estimate:
    """Add up what is left of a grid."""

    passes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    images: Counter[tuple[str, tuple[int, ...] | None]] = field(default_factory=Counter)
    shared: Counter[str] = field(default_factory=Counter)

    def add(self, victim: str, passes: int) -> None:
        """Count the passes of a cell that are left."""
        self.passes[victim] += passes

    @property
    def anything(self) -> bool:
        """Tell whether any pass is left."""
        return any(self.passes.values())

    def add_images(self, count: int, dataset: str, shape: tuple[int, ...] | None) -> None:
        """Count adversarial images that are left to craft; their shape is None where they were not looked at."""
        self.images[dataset, shape] += count

    def lines(self, rates: Rates, gate: float | None, keep: str) -> Iterator[str]:
        """Yield what it costs, a line a kind; ``gate`` is the most that the gate adds, as a share of the passes."""
        if self.shared:
            parts = ", ".join(f"{name} {count}" for name, count in self.shared.items())
            yield f"shared, and done once: {parts} times less"
        left = {victim: passes for victim, passes in self.passes.items() if passes}
        if not left:
            return
        unknown = sorted(set(left) - set(rates.by_victim))
        if unknown:
            yield f"time: not known, since the store has no card of {', '.join(unknown)}; --rates FILE gives rates"
        else:
            seconds = sum(passes / rates.by_victim[victim] for victim, passes in left.items()) * (1 + (gate or 0))
            said = ", ".join(f"{name} {rates.by_victim[name]:,.0f} passes/s {rates.source[name]}" for name in left)
            share = "without limit, and is not counted" if gate is None else f"at most {gate:.0%}, and counted"
            yield f"time: about {in_words(seconds)} on one device ({said}; the gate adds {share})"
            if rates.price is not None:
                yield f"price: about {seconds / 3600 * rates.price:,.2f} at {rates.price:,.2f} an hour"
        if keep != "digests" and self.images:
            yield self._disk(rates, keep)

    def _disk(self, rates: Rates, keep: str) -> str:
        which = "adversarial images" if keep == "all" else "adversarial images that fell"
        size = 0
        for (dataset, looked_at), count in self.images.items():
            shape = looked_at or rates.shapes.get(dataset)
            if shape is None:
                return f"disk: not known before the images of {dataset} are looked at"
            size += count * prod(shape) * PIXEL
        return f"disk: at most {in_bytes(size)} of {which}; fitted weights come on top"
