"""``robench completion``, and how bash's words are read."""

from __future__ import annotations

import os

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class

from robench.cli.output import printed_option
from robench.cli.strict import Command

#: Where each shell looks for the script.
PLACES = {
    "bash": (
        "robench completion bash > ~/.local/share/bash-completion/completions/robench",
        'or put into ~/.bashrc: eval "$(robench completion bash)"',
    ),
    "zsh": (
        'robench completion zsh > "${fpath[1]}/_robench"',
        'or put into ~/.zshrc: eval "$(robench completion zsh)"',
    ),
    "fish": ("robench completion fish > ~/.config/fish/completions/robench.fish",),
}

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion kind value
    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete $1)
    for completion in $response; do
        IFS=',' read -r kind value <<< "$completion"
        if [[ $kind == dir ]]; then
            COMPREPLY=(); compopt -o dirnames
        elif [[ $kind == file ]]; then
            COMPREPLY=(); compopt -o default
        else
            COMPREPLY+=("$value")
            # What ends like this goes on: no space behind it.
            [[ $value == *[.=/:\\[] ]] && compopt -o nospace
        fi
    done
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Read words as the user typed them: bash cuts ``attack.steps=20`` and ``net.py:build`` into three."""

    source_template = _BASH
    #: How much of the word bash has cut off, and does not want back.
    cut = 0

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the arguments before the cursor, and the word at it, put together again."""
        words = os.environ["COMP_WORDS"].split("\n")
        # By the standard protocol words are separated by spaces; the script above separates them by newlines.
        if len(words) == 1:
            return super().get_completion_args()
        words = [*words, ""][: int(os.environ["COMP_CWORD"]) + 1]
        joined, glued = [""], False
        for word in (entry.strip("'\"") for entry in words[1:]):
            cuts = word in ("=", ":")
            if word == "=" and joined[-1].startswith("--"):
                joined.append("")  # --eps=8/255 is --eps 8/255
            elif cuts or glued:
                self.cut = len(joined[-1]) + len(word) * cuts
                joined[-1] += word
                glued = cuts
                continue
            else:
                joined.append(word)
            self.cut, glued = 0, cuts
        return joined[1:-1], joined[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """Return the item as the script reads it, without the part that bash keeps."""
        return f"{item.type},{item.value[self.cut :]}"


add_completion_class(Bash, "bash")


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(list(PLACES)))
@printed_option
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, component names, parameters and files in SHELL.

    \b
    robench completion bash > ~/.local/share/bash-completion/completions/robench
    robench completion zsh > "${fpath[1]}/_robench"
    robench completion fish > ~/.config/fish/completions/robench.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no shell '{shell}'.")
    script = kind(ctx.find_root().command, {}, "robench", "_ROBENCH_COMPLETE")
    click.echo(script.source_template % script.source_vars())
    for line in PLACES[shell]:
        click.echo(f"# {line}")
