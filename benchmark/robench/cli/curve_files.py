"""What ``robench curve`` prints and writes: tables with intervals, brackets image by image, and the chart."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from robench.cli.curve_run import Line
from robench.cli.options import warn
from robench.contracts.threat_model import format_eps
from robench.errors import RobenchError
from robench.evidence.files import write_whole
from robench.evidence.plain_text import plain
from robench.evidence.security_curve import INFINITE, Summary
from robench.evidence.statistics import proportion

#: Rows of a table, by column.
Rows = list[dict[str, Any]]

RADII = (
    "curve", "dataset", "victim", "defense", "attack", "access", "norm", "seed", "eps", "radius", "n", "correct",
    "rate", "low", "high", "standing", "standing_rate", "standing_low", "standing_high", "missed", "verdict", "card",
)  # fmt: skip
IMAGES = ("curve", "image", "clean", "held", "fell", "distance")


def radii(line: Line, place: int) -> Rows:
    """Return a row a card: what it counted, and how many images stand that are not known to fall within eps."""
    found = []
    for card in line.cards:
        cell, robust, eps = card.cell, card.robust, card.cell.threat.eps
        standing, n = line.curve.standing(eps), robust.n
        low, high = proportion(standing, n)
        values = (
            place, cell.dataset.label, cell.victim.label, cell.defense.label, cell.attack.label, cell.threat.access,
            cell.threat.norm, cell.seed, eps, format_eps(eps), n, robust.correct, robust.rate, robust.low, robust.high,
            standing, standing / n, low, high, line.curve.missed(eps), card.gate.verdict, card.id,
        )  # fmt: skip
        found.append(dict(zip(RADII, values, strict=True)))
    return found


def images(line: Line, place: int) -> Rows:
    """Return a row an image: the largest tried eps at which it stood, the smallest at which it fell, and its distance.

    What there is not is None: an image that never fell has neither; one that is wrong unattacked has 0 in all three.
    """
    curve = line.curve
    return [
        dict(
            zip(
                IMAGES,
                (place, row, clean, curve.held(row), known(curve.fell(row)), known(curve.distance(row))),
                strict=True,
            )
        )
        for row, clean in enumerate(curve.clean)
    ]


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


def print_curve(line: Line) -> None:
    """Print the table of one curve, what is wrong with it, and its summaries."""
    table = Table(title=f"{plain(line.title, 200)}, {line.first.cell.threat.norm}, n = {line.first.cell.n}")
    for name in ("eps", "robust accuracy %", "standing %", "missed", "verdict"):
        table.add_column(name, justify="left" if name == "verdict" else "right")
    clean = line.first.clean
    table.add_row("0", _percent(clean.rate, clean.low, clean.high), "", "", "")
    rows = radii(line, 1)
    for row in rows:
        counted = _percent(row["rate"], row["low"], row["high"])
        standing = _percent(row["standing_rate"], row["standing_low"], row["standing_high"])
        table.add_row(row["radius"], counted, standing, str(row["missed"]), row["verdict"])
    Console(highlight=False).print(table)
    for sentence in sentences(line, rows):
        click.echo(sentence)


def sentences(line: Line, rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    """Yield what the figures of a curve mean, and where its attack is not to be believed."""
    for row in rows:
        if row["missed"]:
            yield (
                f"At {row['radius']}, {row['missed']} images stood that fall within it to what was found at other "
                "radii: the attack is too weak there (more steps or restarts). They are not counted as standing."
            )
    largest, norm, n = rows[-1]["radius"], line.first.cell.threat.norm, len(line.curve.clean)
    for what, found in zip(
        ("smallest eps at which they fell", "distance of nearest error"), summaries(line).values(), strict=True
    ):
        middle = f"more than {largest}" if found.median == INFINITE else f"{found.median:.4g}"
        mean = "" if found.mean is None else f", mean of those {found.mean:.4g}"
        yield f"{what} ({norm}, upper bounds): median {middle}; {found.fell} of {n} fell{mean}"


def _percent(rate: float, low: float, high: float) -> str:
    return f"{100 * rate:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def write_curves(found: Sequence[Line], out: Path, width: float | None) -> list[Path]:
    """Write the tables, the curves as JSON, and the charts where matplotlib is installed; return the files."""
    if not found:
        return []
    tables = [(line, radii(line, place), images(line, place)) for place, line in enumerate(found, 1)]
    by_radius = [row for _, rows, _ in tables for row in rows]
    by_image = [row for _, _, rows in tables for row in rows]
    written = [
        _write(out / "curve.csv", _csv(RADII, by_radius)),
        _write(out / "critical-eps.csv", _csv(IMAGES, by_image)),
        _write(out / "curve.json", _json(tables, width)),
    ]
    from robench_leaderboard.report.radius_chart import write_chart

    try:
        written += write_chart([(line.title, line.first, rows) for line, rows, _ in tables], out / "curve")
    except RobenchError as error:  # matplotlib is not installed; the numbers are written
        warn(str(error))
    return written


def _json(tables: Sequence[tuple[Line, Rows, Rows]], width: float | None) -> str:
    curves = [
        {
            "title": line.title,
            "clean": line.first.clean.rate,
            "width": width,
            "radii": by_radius,
            "images": by_image,
            "summary": {
                what: {"median": known(one.median), "mean": one.mean, "fell": one.fell}
                for what, one in summaries(line).items()
            },
        }
        for line, by_radius, by_image in tables
    ]
    return json.dumps({"format": 1, "curves": curves}, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> Path:
    write_whole(path, text.encode())
    return path
