"""What a shell offers after a tab: component names, their parameters and values, files. No torch is imported."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin

import click
from click.shell_completion import CompletionItem

from robench.cli.values import split_names

if TYPE_CHECKING:
    from robench.contracts.parameters import Parameter
    from robench.plugin.catalog import Offer

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

ROLES = ("dataset", "victim", "surrogate", "attack", "defense", "certificate")


def silent(completer: Completer) -> Completer:
    """Offer nothing where ``completer`` fails: a shell prints whatever a tab raises over the user's line."""

    @wraps(completer)
    def safe(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            return completer(ctx, param, incomplete)
        except Exception:  # a plugin may raise anything
            return []

    return safe


@silent
def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete ``none,tecoa[epochs=5,ra``: the last name of a list, or a parameter within its brackets."""
    role = {"train_dataset": "dataset", "detectors": "detector"}.get(str(param.name), str(param.name))
    if role not in (*ROLES, "detector"):
        return []
    done = incomplete.endswith(",") and incomplete.count("[") == incomplete.count("]")
    last = "" if done or not incomplete.strip() else split_names(incomplete)[-1]
    before = incomplete[: len(incomplete) - len(last)]
    name, bracket, inside = last.partition("[")
    if bracket and "]" not in inside:
        asked = inside.rpartition(",")[2]
        before += last[: len(last) - len(asked)]
        found = _parameters([offer for offer in _offers(role) if offer.name == name], asked)
    else:
        found = [(offer.name, offer.summary) for offer in _offers(role) if offer.name.startswith(last)]
        if role == "surrogate" and "self".startswith(last):
            found.append(("self", "the undefended victim"))
        found = found or list(_user_supplied(last))
    return [CompletionItem(before + text, help=words) for text, words in found]


@silent
def parameters(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete ``attack.target=lea``: roles and named components, their parameters, and the values of a choice."""
    owner, dot, asked = incomplete.partition(".")
    if not dot:
        owners = [(f"{role}.", f"parameters of the {role}") for role in ROLES]
        owners += [(f"{offer.name}.", offer.summary) for role in ROLES for offer in _named(ctx, role)]
        return [CompletionItem(text, help=words) for text, words in dict(owners).items() if text.startswith(owner)]
    of_role = (_named(ctx, owner) or _offers(owner)) if owner in ROLES else []
    offers = of_role or [offer for role in ROLES for offer in _offers(role) if offer.name == owner]
    return [CompletionItem(f"{owner}.{text}", help=words) for text, words in _parameters(offers, asked)]


@silent
def components(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of any component."""
    found = {offer.name: offer.summary for role in ROLES for offer in _offers(role)}
    return [CompletionItem(name, help=words) for name, words in found.items() if name.startswith(incomplete)]


@silent
def cards(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete card files: those of ``results/cards`` without their folder typed, else any JSON file."""
    return _files(incomplete, "json", Path("results") / "cards")


@silent
def suites(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete suites: ``suite:`` and a name, those of ``suites`` without their folder typed, else any TOML file."""
    from robench.plan.suite import PREFIX, shipped

    along = [f"{PREFIX}{name}" for name in shipped()]
    found = [CompletionItem(name) for name in along if incomplete and name.startswith(incomplete)]
    return [*found, *([] if incomplete.startswith(PREFIX) else _files(incomplete, "toml", Path("suites")))]


@silent
def protocols(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a protocol."""
    from robench.plan.suite import protocols as known

    return [CompletionItem(name) for name in known() if name.startswith(incomplete)]


@silent
def precisions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete what a search can be computed in."""
    from robench.contracts.search_precision import Precision

    return [CompletionItem(word) for word in get_args(Precision) if word.startswith(incomplete)]


@silent
def suite_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a suite that comes along."""
    from robench.plan.suite import shipped

    return [CompletionItem(name) for name in shipped() if name.startswith(incomplete)]


def _offers(role: str) -> list[Offer]:
    from robench.plugin.catalog import catalog

    return catalog().of(role)


def _named(ctx: click.Context, role: str) -> list[Offer]:
    """Return the components of a role that the command line names so far."""
    typed = ctx.params.get(role) or ()
    texts = [typed] if isinstance(typed, str) else [name for entry in typed for name in entry]
    names = {text.partition("[")[0] for text in texts}
    return [offer for offer in _offers(role) if offer.name in names]


def _parameters(offers: Iterable[Offer], asked: str) -> list[tuple[str, str]]:
    """Return ``steps=`` for what begins like ``asked``, or ``target=random`` once the parameter is typed."""
    from robench.contracts.parameters import parameters_of

    declared: dict[str, Parameter] = {}
    for offer in offers:
        declared.update(parameters_of(offer.component))
    name, equals, value = asked.partition("=")
    if not equals:
        return [(f"{entry.name}=", entry.help) for entry in declared.values() if entry.name.startswith(asked)]
    entry = declared.get(name)
    values = _values(entry) if entry else []
    return [(f"{name}={text}", entry.help if entry else "") for text in values if text.startswith(value)]


def _values(entry: Parameter) -> list[str]:
    """Return the choices of a parameter, or its default where there is no end of them."""
    from robench.contracts.parameters import format_value

    if get_origin(entry.type) is Literal:
        return [str(choice) for choice in get_args(entry.type)]
    if entry.type is bool:
        return ["true", "false"]
    return [] if entry.default == "" else [format_value(entry.name, entry.default)]


def _user_supplied(text: str) -> Iterator[tuple[str, str]]:
    """Yield files and folders behind ``hf-dir:`` and the like, and the functions of ``net.py:``."""
    word, colon, rest = text.partition(":")
    if not colon:
        yield from ((path, "") for path in _paths(text) if path.endswith(("/", ".py")))
    elif word.endswith(".py"):
        tree = ast.parse(Path(word).read_bytes())
        made = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        yield from ((f"{word}:{node.name}", "") for node in made if node.name.startswith(rest))
    else:
        yield from ((f"{word}:{path}", "") for path in _paths(rest))


def _paths(text: str) -> list[str]:
    """Return the paths that begin like ``text``, folders with a slash."""
    folder, slash, start = text.rpartition("/")
    found = sorted(Path(folder + slash or ".").iterdir())
    shown = [path for path in found if path.name.startswith(start) and (start or not path.name.startswith("."))]
    return [f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}" for path in shown]


def _files(incomplete: str, suffix: str, usual: Path) -> list[CompletionItem]:
    found = [path for path in _paths(incomplete) if path.endswith(("/", f".{suffix}"))]
    if "/" not in incomplete and usual.is_dir():
        found += [path.as_posix() for path in sorted(usual.glob(f"{incomplete}*.{suffix}"))]
    return [CompletionItem(path) for path in dict.fromkeys(found)]
