"""Libraries that only some models need."""

from __future__ import annotations

from importlib.util import find_spec

from robench import SpecError


def lacking(module: str, package: str, models: str) -> str:
    """Return a sentence with the command that installs it if the library behind ``models`` is absent, else nothing."""
    if find_spec(module) is not None:
        return ""
    return (
        f"{models} cannot be loaded without the package {package}; install it with "
        f"'pip install {package}', or all model libraries with 'pip install robench[models]'."
    )


def needed(module: str, package: str, models: str) -> None:
    """Raise SpecError, with the command that installs it, if the library behind ``models`` is not here."""
    if absent := lacking(module, package, models):
        raise SpecError(absent)
