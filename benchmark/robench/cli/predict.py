"""``robench predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robench.cli import completers
from robench.cli.options import device_option, parameter_option, without_option
from robench.cli.output import STDOUT, answering, deliver, file_option, json_option
from robench.cli.strict import Command
from robench.cli.strict import WholeNumber as Whole

if TYPE_CHECKING:
    from robench.cli.predictions import Prediction


class Captions(Command):
    """Take several words after ``--captions``, up to the next option, as if each had its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line."""
        spread: list[str] = []
        inside = False
        for word in args:
            if word.startswith("-"):
                inside = word == "--captions"
                spread += [] if inside else [word]
            else:
                spread += ["--captions", word] if inside else [word]
        if args and args[-1] == "--captions":
            raise click.UsageError('--captions needs captions; write --captions "a dog" "a cat".', ctx)
        return super().parse_args(ctx, spread)


@click.command("predict", cls=Captions)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--victim", default="", metavar="NAME", shell_complete=completers.names, help="Model [default: the dataset's]."
)
@click.option("--captions", multiple=True, metavar="TEXT...", help="What a CLIP chooses from, in place of class names.")
@click.option(
    "--dataset",
    default="",
    metavar="NAME",
    shell_complete=completers.names,
    help="Whose class names are chosen from without --captions [default: the embedded digits].",
)
@click.option(
    "--attack", default="", metavar="NAME", shell_complete=completers.names, help="Also attack the first answer."
)
@click.option("--eps", default="8/255", show_default=True, metavar="RADIUS", help="Radius of the attack, Linf.")
@parameter_option("A component's parameter, such as victim.checkpoint=DIR.")
@click.option("--size", type=Whole(1, "224"), default=224, show_default=True, metavar="PIXELS", help="Side in pixels.")
@click.option("--top", type=Whole(1, "5"), default=5, show_default=True, metavar="K", help="Answers that are shown.")
@json_option
@file_option("PNG: clean, attacked, and the difference")
@click.option(
    "--saliency", is_flag=True, help="In the PNG, also the pixels that the likeliest answer depends on, in red."
)
@device_option
@click.option("--offline", is_flag=True, help="Never reach for a hub.")
@without_option
def predict_command(
    images: tuple[Path, ...], top: int, as_json: bool, out: Path | None, saliency: bool, **given: Any
) -> None:
    """Ask a model what single photos show, in your own captions, and what an attack makes of the answer.

    Each photo is resized so that its short side is --size, and the centre is cropped. One photo says nothing about how
    robust a model is: robench run measures that.

    \b
    robench predict photo.jpg --victim clip-vit-b32 --captions "a dog" "a cat"
    robench predict photo.jpg --victim clip-vit-b32 --captions "a dog" "a cat" --attack pgd --eps 4/255 -o sheet.png
    robench predict photo.jpg --victim clip-vit-b32 --captions "a dog" "a cat" --saliency -o sheet.png
    """
    from robench.api import go_offline
    from robench.cli.inspect import check_writable
    from robench.cli.predictions import picture, predict

    go_offline(given.pop("offline"))
    if saliency and out is None:
        raise click.UsageError("--saliency is drawn into the PNG; name it with -o sheet.png, or leave --saliency out.")
    check_writable(out, as_json=as_json)
    with answering(as_json) as answer:
        found = predict(images, saliency=saliency, **given)
        answer({"images": [one.record(top) for one in found]})
    if not as_json:
        click.echo(_in_words(found, top), err=out == STDOUT)
    if out is not None:
        deliver(out, picture(found), "sheet", quiet=as_json)


def _in_words(found: list[Prediction], top: int) -> str:
    from robench.evidence.plain_text import plain

    lines = []
    for one in found:
        record = one.record(top)
        lines.append(plain(record["image"], 300))
        for name in ("clean", "attacked"):
            if name in record:
                words = (f"{answer['class']} {100 * answer['probability']:.1f} %" for answer in record[name])
                title = name if name == "clean" else f"under {record['attack']} at Linf {record['eps']}"
                lines.append(f"  {plain(title, 120)}: {plain(', '.join(words), 1000)}")
    return "\n".join(lines)
