"""``robench push``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli.output import printed_option
from robench.cli.strict import Command


@click.command("push", cls=Command)
@click.argument("places", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PLACE...")
@click.option("--to", "repo", required=True, metavar="OWNER/NAME", help="Repository on the Hugging Face hub.")
@click.option("--private", is_flag=True, help="Only its owners see it; a public one that is there already is refused.")
@click.option("--dry-run", is_flag=True, help="Say what would be uploaded, and reach for nothing.")
@printed_option
def push_command(places: tuple[Path, ...], repo: str, private: bool, dry_run: bool) -> None:
    """Upload cards as a data set repository, or an exported defense as a model repository.

    Cards (files or folders) go with their leaderboard: README.md with the hub's metadata and the table, the sortable
    page, a record a card. A folder of robench export-defense goes as it is. The token is huggingface_hub's own: hf auth
    login, or HF_TOKEN.

    \b
    robench push results --to OWNER/robustness --dry-run
    robench push results --to OWNER/robustness --private
    robench push my-tecoa --to OWNER/my-tecoa
    """
    from robench.cli.hub_upload import prepared, repository, upload

    repository(repo)
    with prepared(places) as what:
        for path in what.files:
            click.echo(f"{path.relative_to(what.folder).as_posix()} ({path.stat().st_size:,} bytes)")
        if dry_run:
            click.echo(f"Would be uploaded to the {what.kind} repository {repo}{', private' if private else ''}.")
            return
        click.echo(f"{what.kind} repository: {upload(what, repo, private=private)}")
