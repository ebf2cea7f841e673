"""Errors that reach a user: each is one sentence that says what, where and the way out.

RobenchError              exit code 2, printed without a traceback
 +- SpecError             the request: an unknown component, a mistyped parameter, an impossible eps
 |   +- ArgumentError     an argument that the function does not have; also a TypeError
 +- PluginError           the plugin API: a plugin that is broken, clashes or misspells a hook
 +- DataError             the images: a missing folder, an unreadable file, a split too small
 +- WeightsError          the weights: a file that is missing, truncated or of another architecture
 +- ContractError         a component that returned what its contract forbids
 +- DeviceError           the machine: no CUDA, no memory
 +- StoreError            the store: no space, no permission
 +- CardError             a card that cannot be read or does not verify
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class RobenchError(Exception):
    """Report bad input to the user; ``str(error)`` is the whole message."""


class SpecError(RobenchError):
    """Refuse a request that cannot be run as written."""


class ArgumentError(SpecError, TypeError):
    """Refuse an argument that a function does not have, or one of another type."""


class PluginError(RobenchError):
    """Report a plugin that cannot be used, naming the distribution at fault."""


class DataError(RobenchError):
    """Report images or labels that cannot be served."""


class WeightsError(RobenchError):
    """Report model weights that cannot be read."""


class ContractError(RobenchError):
    """Report a component whose result breaks its contract."""


class DeviceError(RobenchError):
    """Report a device that is absent or too small."""


class StoreError(RobenchError):
    """Report a store that cannot be read or written."""


class CardError(RobenchError):
    """Report a card that cannot be read, or whose numbers do not follow from its evidence."""


#: Names that a sentence lists.
MOST_NAMED = 120


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? "`` or nothing, followed by the names that exist, the first ones of very many."""
    names = sorted(known)
    folded = {name.lower(): name for name in reversed(names)}
    close = get_close_matches(wrong.lower(), folded, n=1, cutoff=0.6)
    hint = f"did you mean '{folded[close[0]]}'? " if close else ""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{hint}Known: {', '.join(names[:MOST_NAMED]) or 'none'}{more}."


def unreadable(error: OSError) -> DataError:
    """Return the error for a file or folder that the system does not let us read or write."""
    place = (
        f"{error.filename} cannot be read or written ({error.strerror})" if error.filename is not None else str(error)
    )
    return DataError(f"{place}; mend its permissions or the disk, or name another file or folder.")


def require(condition: bool, message: str) -> None:
    """Raise ContractError with ``message`` unless ``condition`` holds."""
    if not condition:
        raise ContractError(message)


@contextmanager
def attributed_to(what: str, kind: type[RobenchError] = ContractError) -> Iterator[None]:
    """Turn whatever third-party code raises inside into a sentence: ``what`` failed, and with which error."""
    try:
        yield
    except RobenchError:
        raise
    except Exception as error:  # a plugin may raise anything
        raise kind(f"{what} failed: {type(error).__name__}: {error}.") from error
