"""What ``robench curve`` prints and writes: tables with intervals, brackets image by image, and the chart."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median_low
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robench.cli.curve_run import Line
from robench.cli.options import warn
from robench.cli.output import FORMAT
from robench.contracts.threat_model import format_eps, radius_of
from robench.errors import RobenchError
from robench.evidence.files import write_whole
from robench.evidence.plain_text import plain
from robench.evidence.security_curve import INFINITE, Summary
from robench.evidence.statistics import proportion

#: Rows of a table, by column.
Rows = list[dict[str, Any]]

RADII = (
    "curve", "dataset", "victim", "defense", "attack", "access", "norm", "seed", "eps", "radius", "n", "correct",
    "rate", "low", "high", "standing", "standing_rate", "standing_low", "standing_high", "certified",
    "certified_rate", "certified_low", "certified_high", "missed", "verdict", "card",
)  # fmt: skip
IMAGES = ("curve", "image", "clean", "certified", "held", "fell", "distance")


def radii(line: Line, place: int) -> Rows:
    """Return a row a card: what it counted, how many images are not known to fall within eps, how many are proved."""
    found = []
    for card in line.cards:
        cell, robust, eps = card.cell, card.robust, card.cell.threat.eps
        standing, n = line.curve.standing(eps), robust.n
        low, high = proportion(standing, n)
        certified = _certified(line, eps, n)
        values = (
            place, cell.dataset.label, cell.victim.label, cell.defense.label, cell.attack_label, cell.threat.access,
            cell.threat.norm, cell.seed, eps, format_eps(eps), n, robust.correct, robust.rate, robust.low, robust.high,
            standing, standing / n, low, high, *certified, line.curve.missed(eps), card.gate.verdict, card.id,
        )  # fmt: skip
        found.append(dict(zip(RADII, values, strict=True)))
    return found


def _certified(line: Line, eps: float, n: int) -> tuple[int | None, float | None, float | None, float | None]:
    """Return how many images are certified, their share and its interval; None where nothing was certified."""
    if not line.curve.proofs:
        return None, None, None, None
    count = line.curve.certified(eps)
    return count, count / n, *proportion(count, n)


def images(line: Line, place: int) -> Rows:
    """Return a row an image: the largest tried eps at which it is certified and at which it stood, and where it fell.

    What there is not is None: an image that never fell has no distance, and where nothing was certified none is. One
    that is wrong unattacked has 0 in all of them.
    """
    curve, found = line.curve, []
    for row, clean in enumerate(curve.clean):
        proved = curve.proved(row) if curve.proofs else None
        values = (place, row, clean, proved, curve.held(row), known(curve.fell(row)), known(curve.distance(row)))
        found.append(dict(zip(IMAGES, values, strict=True)))
    return found


def known(value: float) -> float | None:
    """Return a radius, or None for one that is not known."""
    return None if value == INFINITE else value


def summaries(line: Line) -> dict[str, Summary]:
    """Return the middles and means of the upper ends of the brackets, and of the measured distances."""
    rows = range(len(line.curve.clean))
    return {
        "eps": Summary.of([line.curve.fell(row) for row in rows]),
        "distance": Summary.of([line.curve.distance(row) for row in rows]),
    }


def print_curves(found: Sequence[Line], shared: str) -> None:
    """Print what all curves share, and of each the table, what is wrong with it, and its summaries."""
    if len(found) > 1:
        click.echo(f"{len(found)} curves; alike in all: {plain(shared, 600)}.")
    for line in found:
        _print_curve(line, line.title if len(found) > 1 else f"{line.title}; {shared}")


def _print_curve(line: Line, title: str) -> None:
    proved = bool(line.curve.proofs)
    # Three shares with their intervals fit a terminal of 80 columns.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0 if proved else 1, 0, 0), pad_edge=False)
    for name in ("eps", "robust %", "standing %", *["certified %"] * proved, "missed", "verdict"):
        table.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
    clean = line.first.clean
    table.add_row("0", _percent(clean.rate, clean.low, clean.high))
    rows, norm = radii(line, 1), line.first.cell.threat.norm
    for row in rows:
        shares = [_percent(*(row[f"{what}rate"], row[f"{what}low"], row[f"{what}high"])) for what in _shares(proved)]
        table.add_row(radius_of(row["eps"], norm), *shares, str(row["missed"]), row["verdict"])
    console = Console(highlight=False)
    console.print(Text(plain(title, 600), "bold"))
    console.print(table)
    for sentence in sentences(line, rows):
        click.echo(sentence)


def _shares(proved: bool) -> tuple[str, ...]:
    """Return how the columns of the shares that a table shows begin."""
    return ("", "standing_", "certified_") if proved else ("", "standing_")


def sentences(line: Line, rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    """Yield what the figures of a curve mean, and where its attack or its certificate is not to be believed."""
    norm, curve = line.first.cell.threat.norm, line.curve
    for row in rows:
        if row["missed"]:
            yield (
                f"At {radius_of(row['eps'], norm)}, {row['missed']} images stood that fall within it to what was found "
                "at other radii: the attack is too weak there (more steps or restarts). They are not counted as "
                "standing."
            )
    if wrong := curve.disproved():
        yield (
            f"{len(wrong)} images fall within an eps at which they are certified ({_listed(wrong)}): the certificate "
            "is wrong, or it speaks of another model than the one that was attacked."
        )
    if curve.proofs:
        proved = sorted(curve.proved(row) for row in range(len(curve.clean)))
        some = sum(eps > 0 for eps in proved)
        yield (
            f"largest eps at which they are certified ({norm}, lower bounds): median "
            f"{radius_of(median_low(proved), norm)}; {some} of {len(proved)} are certified at one"
        )
    largest, n = radius_of(rows[-1]["eps"], norm), len(curve.clean)
    for what, found in zip(
        ("smallest eps at which they fell", "distance of nearest error"), summaries(line).values(), strict=True
    ):
        middle = f"more than {largest}" if found.median == INFINITE else radius_of(found.median, norm)
        mean = "" if found.mean is None else f", mean of those {radius_of(found.mean, norm)}"
        yield f"{what} ({norm}, upper bounds): median {middle}; {found.fell} of {n} fell{mean}"


def _listed(images: Sequence[int]) -> str:
    return ", ".join(map(str, images[:5])) + (", ..." if len(images) > 5 else "")


def _percent(rate: float, low: float, high: float) -> str:
    return f"{100 * rate:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def write_curves(found: Sequence[Line], values: dict[str, Any], out: Path, width: float | None) -> list[Path]:
    """Write the tables, the curves as JSON, and the charts where matplotlib is installed; return the files.

    Files of other curves, of more radii or of narrower brackets, stay: these get names of their own beside them.

    Args:
        found: the curves.
        values: what :func:`curves_json` gives of them.
        out: the folder.
        width: of the brackets; None if none was halved.
    """
    if not found:
        return []
    end, curves = _ending(found, out, width), values["curves"]
    written = [
        _write(out / f"curve{end}.csv", _csv(RADII, (row for curve in curves for row in curve["radii"]))),
        _write(out / f"critical-eps{end}.csv", _csv(IMAGES, (row for curve in curves for row in curve["images"]))),
        _write(out / f"curve{end}.json", json.dumps({"format": FORMAT, **values}, indent=1, allow_nan=False) + "\n"),
    ]
    from robench_leaderboard.report.radius_chart import write_chart

    drawn = [(line.title, line.first, curve["radii"]) for line, curve in zip(found, curves, strict=True)]
    try:
        written += write_chart(drawn, values["shared"], out / f"curve{end}")
    except RobenchError as error:  # matplotlib is not installed; the numbers are written
        warn(str(error))
    return written


def _ending(found: Sequence[Line], out: Path, width: float | None) -> str:
    """Return what ends the names of the files: nothing, unless those there hold what these would not."""
    cards = sorted(card.id for line in found for card in line.cards)
    try:
        there = json.loads((out / "curve.json").read_text(encoding="utf-8"))
        known = {row["card"] for curve in there["curves"] for row in curve["radii"]}
        narrowest = min((curve["width"] for curve in there["curves"] if curve["width"]), default=None)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, LookupError, TypeError):  # it is no curve of ours
        known, narrowest = {""}, None
    if known <= {*cards} and (narrowest is None or (width is not None and width <= narrowest)):
        return ""
    return f"-{hashlib.sha256(json.dumps([cards, width]).encode()).hexdigest()[:8]}"


def curves_json(found: Sequence[Line], shared: str, width: float | None) -> dict[str, Any]:
    """Return what all curves share, and of each its radii, its images and its summaries, as JSON values."""
    curves = [
        {
            "title": line.title,
            "clean": line.first.clean.rate,
            "certificates": [record.certificate.label for record in line.first.certificates],
            "width": width,
            "radii": radii(line, place),
            "images": images(line, place),
            "summary": {
                what: {"median": known(one.median), "mean": one.mean, "fell": one.fell}
                for what, one in summaries(line).items()
            },
        }
        for place, line in enumerate(found, 1)
    ]
    return {"shared": shared, "curves": curves}


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> Path:
    write_whole(path, text.encode())
    return path
