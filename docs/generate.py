"""Write the parts of the documentation that the code knows, or check that they are what it gives.

python docs/generate.py           write docs/reference.md, docs/components.md and docs/card.md, the marked parts of
                                  README.md and other pages, the schemas of cards and leaderboard.json
python docs/generate.py --check   exit 1 and name what differs
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
from card_fields import card_fields
from report_items import report_items

from robench.api import run
from robench.cli.commands import robench
from robench.contracts.parameters import format_value, parameters_of
from robench.contracts.roles import ROLES
from robench.evidence import attestation, card_file, training_card_file
from robench.evidence.card import Check
from robench.evidence.check_rules import OF_A_KIND as NAMES_OF_A_KIND
from robench.evidence.check_rules import SHARES, ZERO
from robench.evidence.check_verdict import STRONGER, skip
from robench.gate.registry import CHECKS, OF_A_KIND, WHERE_CERTIFIED
from robench.plan.suite import read_suite
from robench.plugin import hookspecs
from robench.plugin.catalog import Catalog, Offer, catalog
from robench_leaderboard import Row, boards, read_cards
from robench_leaderboard.render import formatting, json_schema

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "blur" / "robench_blur.py"
#: Marker of docs/plugins.md -> the file printed there.
PRINTED = {
    "blur": EXAMPLE,
    "mifgsm": ROOT / "examples" / "mifgsm" / "robench_mifgsm.py",
    "mifgsm-project": ROOT / "examples" / "mifgsm" / "pyproject.toml",
}


def built_in() -> list[Offer]:
    """Return the built-in offers, by role and name; other plugins of this environment are left out."""
    known: Catalog = catalog()
    return [offer for role in ROLES for offer in known.of(role) if offer.plugin.name == "builtins"]


def components() -> str:
    """Return a table of the built-in components."""
    lines = ["| role | name | what it does |", "|:--|:--|:--|"]
    roles: dict[str, list[str]] = {}
    summaries: dict[str, str] = {}
    for offer in built_in():
        roles.setdefault(offer.name, []).append(offer.role)
        summaries[offer.name] = offer.summary
    lines += [f"| {', '.join(kinds)} | `{name}` | {summaries[name]} |" for name, kinds in roles.items()]
    return "\n".join(lines)


def parameters() -> str:
    """Return the parameters of every built-in component."""
    parts = []
    for component in dict.fromkeys(offer.component for offer in built_in()):
        declared = parameters_of(component)
        parts.append(f"### `{component.name}`\n\n```text\n{inspect.getdoc(component)}\n```")
        if component.source:
            parts.append(f"Source: {component.source}")
        if declared:
            rows = [
                f"| `{entry.name}` | {entry.type_name.replace('|', chr(92) + '|')} | "
                f"`{format_value(entry.name, entry.default)}` | {entry.help} |"
                for entry in declared.values()
            ]
            parts.append("\n".join(["| parameter | type | default | meaning |", "|:--|:--|:--|:--|", *rows]))
    return "\n\n".join(parts)


def hooks() -> str:
    """Return the hook list."""
    found = [(name, hook) for name, hook in vars(hookspecs).items() if name.startswith("robench_")]
    lines = ["| hook | returns | what it offers |", "|:--|:--|:--|"]
    for name, hook in found:
        returns = str(inspect.signature(hook).return_annotation).strip("'")
        lines.append(f"| `{name}` | `{returns}` | {inspect.getdoc(hook)} |")
    return "\n".join(lines)


def commands() -> str:
    """Return the help of every command."""
    parts = []
    for name, command in named_commands("robench", robench):
        context = click.Context(command, info_name=name, max_content_width=100)
        parts.append(f"### `{name}`\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts)


def named_commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and those below it, each with its whole name."""
    yield name, command
    for below, inner in command.commands.items() if isinstance(command, click.Group) else ():
        yield from named_commands(f"{name} {below}", inner)


def surface() -> str:
    """Return what ``from robench import ...`` gives."""
    import robench as package

    rows = ["| name | what it is |", "|:--|:--|"]
    for name in package.__all__:
        lines = (inspect.getdoc(getattr(package, name)) or "").splitlines()
        # A type alias has the docstring of typing.Literal, which says nothing about it.
        says = (
            lines[0]
            if lines and inspect.isroutine(getattr(package, name)) | inspect.isclass(getattr(package, name))
            else "the version of the plugin API, a number"
            if name == "API_VERSION"
            else "a type"
        )
        rows.append(f"| `{name}` | {says} |")
    return "\n".join(rows)


def results() -> str:
    """Return the README's table: the embedded default at its largest radius, from the repository's cards."""
    found = boards(read_cards([ROOT / "leaderboard" / "cards"]))
    board = max((each for each in found if each.setting.dataset == "digits"), key=lambda each: each.setting.eps)
    lines = [
        "| rank | defense | clean % | robust % | transfer % | trainable | verdict |",
        "|--:|:--|--:|--:|--:|--:|:--|",
    ]
    lines += map(line, board.rows)
    return "\n".join([f"**{board.setting.dataset}: {board.setting.contest}**\n", *lines])


def traps() -> str:
    """Return how the trap table came out, as its page says: the gate on all sets of weights, and other detectors."""
    page = (ROOT / "docs" / "traps.md").read_text(encoding="utf-8")
    line = r"^- ([^:]*): (\d+) of (\d+) traps caught, (\d+) of (\d+) honest controls accused"
    (name, caught, traps, accused, controls), *rest = re.findall(line, page, re.MULTILINE)
    said = f"  - {name}: {caught} of {traps} traps caught, {accused} of {controls} honest controls accused"
    sets = [(int(found[1]), int(found[3])) for found in rest if found[0].startswith("weights")]
    if sets:
        least, most = min(n for n, _ in sets), max(n for _, n in sets)
        blamed = f"at most {most}" if most else "none"
        said += f"; with {len(sets)} sets of weights and kernels at least {least} caught, and {blamed} accused"
    others = ", ".join(f"{found[0]} {found[1]} and {found[3]}" for found in rest if not found[0].startswith("weights"))
    return f"{said}.\n  - Other detectors: {others}."


def suites() -> str:
    """Return a line for each suite that comes along."""
    found = [(path.name, read_suite(path)) for path in sorted((ROOT / "suites").glob("*.toml"))]
    lines = ["| suite | what it runs | published figures |", "|:--|:--|--:|"]
    lines += [
        f"| [`{name}`](../suites/{name}) | {suite.title} | {len(suite.published) or '-'} |" for name, suite in found
    ]
    return "\n".join(lines)


def checks() -> str:
    """Return the table of the gate's checks: names and thresholds as in a card made on the spot."""
    with tempfile.TemporaryDirectory() as store:
        (card,) = run(dataset="digits", victim="tiny-clip", attack="pgd", n=500, device="cpu", store=Path(store))
        (proved,) = run(
            dataset="digits", victim="linear", attack="pgd", certificate="interval", n=50, device="cpu",
            store=Path(store),
        )  # fmt: skip
    lines = ["| check | what it does | threshold |", "|:--|:--|:--|"]
    weighed = [*zip(CHECKS, card.gate.checks, strict=True)]
    weighed += zip(WHERE_CERTIFIED, proved.gate.checks[len(CHECKS) :], strict=True)
    weighed += zip(OF_A_KIND, map(_of_a_kind, NAMES_OF_A_KIND), strict=True)
    for weigh, found in weighed:
        what = (inspect.getdoc(weigh) or "").splitlines()[0]
        lines.append(f"| {found.name} | {what} | {found.threshold.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def _of_a_kind(name: str) -> Check:
    """Return an entry of a check that only cards of one kind of attack have, with its threshold."""
    share = SHARES[name].threshold if name in SHARES else f"<= {STRONGER[0]:.0%} of the images tried"
    return skip(name, f"= 0 {ZERO[name]}" if name in ZERO else share, "")


def line(row: Row) -> str:
    """Return one row of the README's table."""
    transfer = min(row.transfer.values(), key=lambda score: score.rate, default=None)
    accuracies = map(formatting.percent, (row.clean, row.headline, transfer))
    columns = (row.rank or "-", row.title, *accuracies)
    return "| " + " | ".join(map(str, (*columns, formatting.trainable(row), row.verdict))) + " |"


def page() -> str:
    """Return docs/reference.md."""
    return "\n\n".join(
        [
            "# Reference",
            "<!-- Generated by docs/generate.py from the code; edit the code. -->",
            "## Commands",
            commands(),
            "## Components",
            "Told apart by role in [components](components.md).",
            parameters(),
            "## Hooks",
            "A plugin is a module named in the entry-point group `robench`; it has any of these, marked `@hookimpl`.",
            hooks(),
            "## `from robench import ...`",
            surface(),
            "",
        ]
    )


def component_page() -> str:
    """Return docs/components.md."""
    parts = [
        "# Components and suites",
        "<!-- Generated by docs/generate.py from the code; edit the code. -->",
        "What can be named in a run, as `robench list` prints it. Parameters, defaults and sources: "
        "[reference](reference.md#components), or `robench show NAME`.",
        components(),
        "## Suites",
        "Whole experiments in a file: `robench run suite:NAME`. Published figures are printed beside their rows.",
        suites(),
    ]
    return "\n\n".join(parts) + "\n"


def processors() -> str:
    """Return the image processors of transformers that are read, and timm's crop modes."""
    from robench_builtins.models.shared.timm_preprocessing import CROP_MODES
    from robench_builtins.models.shared.transformers_processor import KNOWN

    common = "resize, centre crop, rescale, normalise"
    rows = [f"| `{name}` | {words or common} |" for name, (words, _) in sorted(KNOWN.items())]
    rows += [f"| timm, `crop_mode` {mode} | {words} |" for mode, words in CROP_MODES.items()]
    return "\n".join(["| processor | what is done |", "|:--|:--|", *rows])


def layouts() -> str:
    """Return the layouts of checkpoints that are unwrapped."""
    from robench_builtins.models.shared.checkpoint_layouts import ENTRIES, PREFIXES
    from robench_builtins.models.shared.safe_pickles import ALLOWED

    rows = [f"| entry `{name}` | {who} |" for name, who in ENTRIES.items()]
    rows += [f"| prefix `{prefix}` on every name | {who} |" for prefix, who in PREFIXES.items()]
    rows += ["| `module.` and `_orig_mod.` inside names | a part that was wrapped |"]
    rows += [f"| beside the tensors: {ALLOWED} | training scripts |"]
    return "\n".join(["| layout | who writes it so |", "|:--|:--|", *rows])


def marked(text: str, name: str, content: str) -> str:
    """Return ``text`` with what lies between the markers of ``name`` replaced."""
    start, stop = f"<!-- {name}: generated by docs/generate.py -->", f"<!-- /{name} -->"
    before, rest = text.split(start)
    _, after = rest.split(stop)
    return f"{before}{start}\n{content}\n{stop}{after}"


def printed(path: Path) -> str:
    """Return a file as a code block."""
    kind = {".py": "python", ".toml": "toml"}[path.suffix]
    return f"```{kind}\n{path.read_text(encoding='utf-8')}```"


def main() -> int:
    """Write or check; return the exit code."""
    readme = ROOT / "README.md"
    text = marked(readme.read_text(encoding="utf-8"), "example", printed(EXAMPLE))
    text = marked(text, "traps", traps())
    plugins, gate = ROOT / "docs" / "plugins.md", ROOT / "docs" / "gate.md"
    plugin_page = plugins.read_text(encoding="utf-8")
    for name, path in PRINTED.items():
        plugin_page = marked(plugin_page, name, printed(path))
    victim = ROOT / "docs" / "how-to" / "victim.md"
    victims = marked(victim.read_text(encoding="utf-8"), "processors", processors())
    wanted = {
        ROOT / "docs" / "reference.md": page(),
        ROOT / "docs" / "components.md": component_page(),
        ROOT / "docs" / "card.md": card_fields(),
        ROOT / "docs" / "reports.md": report_items(),
        readme: marked(text, "results", results()),
        plugins: plugin_page,
        victim: marked(victims, "layouts", layouts()),
        gate: marked(gate.read_text(encoding="utf-8"), "checks", checks()),
    }
    wanted |= {
        file.SCHEMA_FILE: json.dumps(file.schema(), indent=1) + "\n"
        for file in (card_file, training_card_file, attestation, json_schema)
    }
    stale = [
        path for path, content in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]
    if "--check" in sys.argv:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not what the code gives; run: python docs/generate.py\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
