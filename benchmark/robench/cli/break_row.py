"""``robench break``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli import completers
from robench.cli.options import device_option, store_option
from robench.cli.output import Folder
from robench.cli.strict import Command


@click.command("break", cls=Command)
@click.argument("card", type=click.Path(path_type=Path), shell_complete=completers.cards)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--by", default="", metavar="NAME", help="Who is credited with the images, in the card and on pages.")
@click.option(
    "-o",
    "--out",
    type=Folder("such as -o results"),
    default=Path("results"),
    show_default=True,
    help="Folder whose cards the new one joins.",
)
@store_option("Folder that holds the fitted model [default: the user's cache folder].")
@device_option
@click.option("--trust-code", is_flag=True, help="Run Python, TorchScript or exported files that the card names.")
def break_command(
    card: Path, file: Path, by: str, out: Path, store: Path | None, device: str, trust_code: bool
) -> None:
    """Lower the row of CARD with the adversarial images in FILE, made with any library, and say by how much.

    FILE is .npz or .safetensors with the arrays positions, (N,), and images, (N, C, H, W), float32 in [0, 1] or uint8;
    positions count the test images of the card. Each must lie in the card's ball around the test image at its position:
    one that does not is refused, and nothing is projected. The row is all cards of this defended victim beside CARD.

    \b
    robench break leaderboard/cards/CARD.json adversarial.npz --by 'A. Person'
    """
    from robench.api import choose_device
    from robench.errors import SpecError
    from robench.evidence.card_file import read, write
    from robench.evidence.files import ready_folder
    from robench.evidence.judged_card import cards_in
    from robench.evidence.plain_text import plain
    from robench.evidence.store import default_root
    from robench.runtime.progress_bars import terminal
    from robench.verify.lower_row import lower

    found = read(card)
    if len(by) > 100 or plain(by, 100) != by.strip():
        raise SpecError(f"--by {plain(by, 100)} is no name that a page can show; give one of up to 100 letters.")
    ready_folder(out)
    with terminal() as progress:
        lowered = lower(
            found, file, cards_in(card.absolute().parent), by.strip(), store=store or default_root(),
            device=choose_device(device), progress=progress, trust=trust_code,
        )  # fmt: skip
    n, stood, fell = lowered.n, lowered.stood, lowered.fell
    beside = f"{lowered.others} card{'s' * (lowered.others != 1)} of this row"
    click.echo(f"{fell} of the {stood} images that stood under {beside} fall to these.")
    click.echo(f"robust accuracy: {stood / n:.1%} before, {(stood - fell) / n:.1%} with them (n = {n})")
    if not fell:
        click.echo("The row stays as it is, so no card was written.")
        raise click.exceptions.Exit(1)
    click.echo(f"card: {write(lowered.card, out / 'cards')}")
    click.echo("Next: robench submit that card; with it, robench leaderboard judges the row.")
