"""Write a complete plugin: a Python package that works as it stands, its packaging, its tests and its CI."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from robench.errors import SpecError, attributed_to
from robench.plugin.catalog import Catalog
from robench.plugin.discovery import normalised
from robench.plugin.versions import API_VERSION

#: Role -> the run that ranks a new component of it; enough images for a verdict, few enough for a laptop.
RUNS = {
    "dataset": "robench run --dataset {} --attack pgd --n 60",
    "victim": "robench run --victim {} --attack pgd --n 100",
    "surrogate": "robench run --attack pgd --surrogate {} --n 100",
    "attack": "robench run --attack {},pgd --n 100",
    "defense": "robench run --defense {} --attack pgd --n 100",
    "certificate": "robench run --victim mlp --attack pgd --certificate {} --eps 1/255 --n 100",
}

#: File of the component; a folder, so that modules written beside it are packaged, and their source counts.
MODULE = "{module}/__init__.py"

#: Template -> file of the package; ``{module}`` is filled in.
FILES = {
    "pyproject.toml.j2": "pyproject.toml",
    "README.md.j2": "README.md",
    "test.py.j2": "tests/test_{module}.py",
    "workflow.yml.j2": ".github/workflows/robench.yml",
    "gitignore.j2": ".gitignore",
}

#: A project name as PEP 508 allows it.
_PROJECT = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE)


@dataclass(frozen=True)
class Names:
    """Hold what a plugin is called where: on the index, on the command line, in Python."""

    role: str
    distribution: str
    component: str
    module: str
    class_name: str

    @property
    def title(self) -> str:
        """Return the name as words."""
        return self.component.replace("-", " ").capitalize()

    @property
    def run(self) -> str:
        """Return the command that ranks it."""
        return RUNS[self.role].format(self.component)


def names_for(role: str, name: str, public: Collection[str]) -> Names:
    """Return the names of a new plugin; SpecError for one that Python or an index could not take.

    A leading ``robench-`` marks the distribution and is left out of what users type in a run. No class is called what
    the module may import from robench (``public``).
    """
    if not _PROJECT.fullmatch(name):
        raise SpecError(f"'{name}' is no name for a Python project; use letters, digits and dashes, such as my-{role}.")
    distribution = normalised(name)
    component = distribution.removeprefix("robench-")
    module = distribution.replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise SpecError(
            f"'{name}' would need a module named '{module}', which Python cannot import; try my-{distribution}."
        )
    return Names(role, distribution, component, module, _class_name(component, role, public))


def _class_name(component: str, role: str, public: Collection[str]) -> str:
    """Return the name as a class, told apart from the names that the module imports."""
    plain = "".join(part.capitalize() for part in component.split("-"))
    plain = plain if plain.isidentifier() and not keyword.iskeyword(plain) else f"A{plain}"
    return plain + role.capitalize() if plain in {*public, "Path", "Tensor"} else plain


def check_free(names: Names, known: Catalog) -> None:
    """Raise SpecError if anything installed is called the same already."""
    for plugin in known.plugins:
        if names.distribution in (normalised(plugin.name), normalised(plugin.distribution)):
            raise SpecError(
                f"A plugin '{names.distribution}' is installed already ({plugin.label}); choose another name, or "
                f"uninstall it with: pip uninstall {plugin.distribution}."
            )
    offer = known.offers.get((names.role, names.component))
    if offer is not None:
        raise SpecError(
            f"There is a {names.role} '{names.component}' already, from {offer.plugin.label}; choose another name, "
            f"such as my-{names.component}."
        )
    if importlib.util.find_spec(names.module) is not None:
        raise SpecError(
            f"'{names.distribution}' would hide the installed module '{names.module}'; choose another name, such as "
            f"my-{names.distribution}."
        )


def write_package(names: Names, folder: Path) -> list[Path]:
    """Write the package into ``folder`` and return its files; SpecError if anything is there already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(
            f"{folder} is there already and is not empty; choose another name, or a folder with --into DIR."
        )
    texts = render(names)
    with attributed_to(f"writing to {folder}", SpecError):
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    return [folder / path for path in texts]


def render(names: Names) -> dict[str, str]:
    """Return the text of every file of the package by its path."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("robench.plugin", "templates/new"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 - Python, TOML and YAML, of names that were checked
    )
    module = "model" if names.role in ("victim", "surrogate") else names.role
    article = f"{'an' if names.role == 'attack' else 'a'} {names.role}"
    values = {**asdict(names), "title": names.title, "run": names.run, "article": article, "api": API_VERSION}
    wanted = {f"{module}.py.j2": MODULE, **FILES}
    return {
        path.format(module=names.module): environment.get_template(template).render(values)
        for template, path in wanted.items()
    }
