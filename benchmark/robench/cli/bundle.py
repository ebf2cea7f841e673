"""``robench bundle``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from robench.cli import completers
from robench.cli.options import device_option, store_option
from robench.cli.output import STDOUT, deliver, ready
from robench.cli.strict import Command


@click.command("bundle", cls=Command)
@click.argument("card", type=click.Path(path_type=Path), shell_complete=completers.cards)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file, such as CARD.zip; - is the standard output.",
)
@store_option("Folder that holds the artifacts [default: the user's cache folder].")
@device_option
def bundle_command(card: Path, out: Path, store: Path | None, device: str) -> None:
    """Write a card with all its evidence into one file, which anyone can check without running anything.

    In it are the card, the fitted weights, the adversarial and the clean images (losslessly compressed), every answer,
    and what was counted: JSON and safetensors in a zip.

    \b
    robench bundle results/cards/CARD.json -o CARD.zip
    robench verify CARD.zip
    """
    from robench.api import choose_device
    from robench.evidence.card_file import read
    from robench.evidence.store import default_root
    from robench.runtime.progress_bars import terminal
    from robench.verify.bundle import make_bundle

    found = read(card)
    ready(out, binary="zip file")
    with tempfile.TemporaryDirectory(prefix="robench-bundle-") as folder, terminal() as progress:
        file = Path(folder) / "bundle.zip" if out == STDOUT else out
        manifest = make_bundle(found, store or default_root(), file, choose_device(device), progress)
        size = file.stat().st_size
        if out == STDOUT:
            deliver(out, file.read_bytes())
    whole = sum(entry["bytes"] for entry in manifest["files"].values())
    click.echo(f"bundle: {out} ({len(manifest['files'])} files, {whole:,} bytes in {size:,})", err=out == STDOUT)
