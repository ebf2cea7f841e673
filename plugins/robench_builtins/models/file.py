"""A model that the user's own Python builds."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from robench import ContractError, SpecError, Task, WeightsError, parameter
from robench_builtins.models.shared.python_sources import find_module, module_sources, sources
from robench_builtins.models.shared.user_model import UserModel, first_line

if TYPE_CHECKING:
    from torch import nn

    from robench import Classifier

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


class PythonFile(UserModel):
    """Load a model that Python code of your own builds: ``FILE.py:NAME`` or ``package.module:NAME``.

    NAME is a function or class that returns an ``nn.Module``, or the module itself: images in [0, 1] in, logits out.
    A function is given ``task`` or ``num_classes`` if it has arguments of these names. Random initial values are the
    same every time. Editing the file, a module beside it that it imports, or a file that it names in a string is
    noticed; a path put together at run time is not, so hand such weights over as ``weights``.
    """

    name = "file"
    source = "the user's own model"
    licence = "the model's own"
    runs_code = True
    typed = "FILE.py:NAME"

    path: str = parameter(default="", help="the Python file, or the dotted name of an installed module")
    function: str = parameter(default="", help="the function, class or module object in it that is the model")
    weights: str = parameter(default="", help="state dict (.safetensors or .pt) that is loaded into the model")

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``FILE.py:NAME`` and ``package.module:NAME``."""
        path, _, function = text.rpartition(":")
        if path.endswith(".py") or _MODULE.fullmatch(path):
            return {"path": path, "function": function}
        return {"path": text} if text.endswith(".py") else None

    def files(self) -> tuple[Path, ...]:
        """Return the file, what it imports from beside it and names in strings, and the weights."""
        weights = (Path(self.weights).expanduser(),) if self.weights else ()
        if self._is_module:
            found = find_module(self.path)
            return (*(module_sources(found, self.path) if found else ()), *weights)
        path = Path(self.path).expanduser()
        return (*(sources(path) if path.is_file() else ()), *weights)

    def load(self, task: Task) -> Classifier:
        """Run the file and return what it builds, on the CPU."""
        import torch

        if self.path and not self.function:
            raise SpecError(f"{self.path} does not say what in it is the model; write {self.path}:NAME.")
        with torch.random.fork_rng(devices=[]), self._running():
            torch.manual_seed(0)
            module = self._import()
            built = self._build(self._find(module), task)
        if self.weights:
            self._load_weights(built)
        return self.check(self._wrapped(built, task), task)

    @property
    def _is_module(self) -> bool:
        return bool(self.path) and not self.path.endswith(".py")

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Let the code import what lies beside it; whatever it raises becomes a sentence with file and line."""
        folder = str(Path.cwd() if self._is_module else self.file().resolve().parent)
        sys.path.insert(0, folder)
        try:
            yield
        except (ContractError, SpecError, WeightsError):
            raise
        except (Exception, SystemExit) as error:  # code without a main guard may well end the program
            self._blame(error)
        finally:
            if folder in sys.path:
                sys.path.remove(folder)

    def _import(self) -> ModuleType:
        if self._is_module:
            if find_module(self.path) is None:
                raise SpecError(
                    f"There is no Python module '{self.path}' here; run robench where it can be imported, install it, "
                    "or write FILE.py:NAME."
                )
            return importlib.import_module(self.path)
        path = self.file()
        module = ModuleType(f"robench_user_{path.stem}")
        module.__file__ = str(path)
        sys.modules[module.__name__] = module  # dataclasses and pickle look their module up by its name
        # Compiled here, since import would serve a cached .pyc if the file was edited twice within a second.
        code = compile(path.read_bytes(), str(path), "exec")
        exec(code, vars(module))  # noqa: S102 - running this file is what the user asked for
        return module

    def _find(self, module: ModuleType) -> Any:
        found: Any = module
        for part in self.function.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                own = [name for name, value in vars(module).items() if not name.startswith("_") and callable(value)]
                raise SpecError(
                    f"{self.path} has no '{self.function}'; it has {', '.join(sorted(own)) or 'nothing to call'}."
                ) from None
        return found

    def _build(self, found: Any, task: Task) -> nn.Module:
        import copy

        from torch import nn

        if isinstance(found, nn.Module):
            return copy.deepcopy(found)
        if not callable(found):
            self._refuse(found)
        wanted = inspect.signature(found).parameters
        offered: dict[str, Any] = {"task": task, "num_classes": len(task.classes)}
        built = found(**{name: value for name, value in offered.items() if name in wanted})
        if not isinstance(built, nn.Module):
            self._refuse(built)
        return built

    def _refuse(self, found: Any) -> NoReturn:
        raise ContractError(
            f"{self.path}:{self.function} is no model: it gives a {type(found).__name__}, and robench needs a "
            "torch.nn.Module that turns images in [0, 1] into logits."
        )

    def _wrapped(self, built: nn.Module, task: Task) -> Classifier:
        from robench import Classifier

        plain = self.size is None and self.normalisation == "none"
        return built.eval() if isinstance(built, Classifier) and plain else self.classifier(built, task)

    def _load_weights(self, built: nn.Module) -> None:
        from robench_builtins.models.shared.state_dict import read_state

        state = read_state(Path(self.weights).expanduser(), "victim.weights")
        try:
            built.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise WeightsError(
                f"{self.weights} does not fit what {self.path}:{self.function} builds ({reason}); give the state dict "
                "of this very architecture."
            ) from error

    def _blame(self, error: BaseException) -> NoReturn:
        if isinstance(error, SyntaxError):
            where = f"{error.filename}, line {error.lineno}"
            raise ContractError(f"{self.path} is not Python: {error.msg} ({where}).") from error
        frames = traceback.extract_tb(error.__traceback__)
        own = str(self.file()) if not self._is_module else str(find_module(self.path))
        frame = next((entry for entry in reversed(frames) if entry.filename == own), frames[-1])
        raise ContractError(
            f"{self.path}:{self.function} raised {first_line(error)} ({frame.filename}, line {frame.lineno})."
        ) from error
