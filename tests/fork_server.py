"""Processes of ``robench`` that need not import torch each: forked from one process that has.

``script()`` is a stand-in for the installed script ``INSTALLED``. It passes its words, environment, folder and
streams to a server, which forks a child for it and answers with the child's exit code. The server has imported the
libraries and the modules of robench, whose functions nobody has called but for what ``prepare`` names: a child looks
for plugins and reads the environment as a new process does, and imports robench anew where something else of that
name, or a ``sitecustomize``, comes first. What a start imports and what pip installs are tested without it. Who kills
the script kills the child.
"""

from __future__ import annotations

import atexit
import gc
import marshal
import os
import pkgutil
import runpy
import select
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import traceback
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module, invalidate_caches
from importlib.machinery import ModuleSpec
from pathlib import Path

INSTALLED = Path(sys.executable).with_name("robench")
PLACE = "ROBENCH_TESTS_FORK_SERVER"
LIBRARIES = (
    *("torch", "torchvision.transforms.v2", "transformers", "peft", "sklearn.datasets", "scipy.stats", "jinja2"),
    *("click", "rich.table", "rich.progress", "msgspec", "jsonschema", "pluggy", "yaml", "filelock", "PIL.Image"),
    *("safetensors.torch", "packaging.version", "platformdirs", "transformers.models.clip.modeling_clip"),
)

PACKAGES = ("robench", "robench_builtins", "robench_exam", "robench_exports", "robench_leaderboard", "robench_traps")

#: What hides a library on the module path, and the variables that libraries read when they are imported: with these, or
#: with others than the server's, the script itself is run.
FILES = sorted(top + end for top in {name.partition(".")[0] for name in LIBRARIES} for end in ("", ".py"))
READ = ("HF_", "TRANSFORMERS_", "TORCH_", "OMP_", "MKL_", "CUDA_", "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONWARNINGS")

CLIENT = """\
#!{python} -IS
import array, marshal, os, sys  # what takes 3 ms to import; json and socket take 14
from _socket import AF_UNIX, SCM_RIGHTS, SOL_SOCKET, socket
read = {{name: value for name, value in os.environ.items() if name.startswith({read!r})}}
first = os.environ.get("PYTHONPATH", "").split(os.pathsep)
hidden = any(os.path.exists(os.path.join(path, name)) for path in filter(None, first) for name in {files!r})
if hidden or read != {known!r}:
    os.execv({installed!r}, [{installed!r}, *sys.argv[1:]])
server = socket(AF_UNIX)
server.connect({address!r})
request = {{"name": {name!r}, "words": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
server.sendmsg([b"-"], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [0, 1, 2]))])
text = marshal.dumps(request)
server.sendall(len(text).to_bytes(8, "big") + text)
code = int(server.recv(64))
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def script() -> Path:
    """Return what stands for the installed script; without a server, the installed script."""
    place = os.environ.get(PLACE)
    return Path(place) / "robench" if place and hasattr(os, "fork") else INSTALLED


def never_wait_for_the_disk() -> None:
    """Let this process and its children return from ``os.fsync`` at once.

    No test pulls the plug: what is written is there for every process, killed or not, before it has reached the disk.
    """
    os.fsync = lambda number: None


class Server:
    """The process of a server under one interpreter, and the folder with the scripts that ask it."""

    def __init__(self, python: str | Path = sys.executable, **environment: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="robench-tests-"))
        address = str(self.folder / "socket")
        for name in ("robench", "pytest"):
            client = self.folder / name
            given = environment or dict(os.environ)
            text = CLIENT.format(
                python=sys.executable, address=address, name=name, installed=str(Path(python).with_name(name)),
                files=FILES, read=READ, known={name: value for name, value in given.items() if name.startswith(READ)},
            )  # fmt: skip
            client.write_text(text)
            client.chmod(0o755)
        # Its standard input is ours: when we are gone, however that came, it ends as well.
        self.process = subprocess.Popen(
            [python, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            env=environment or None,
        )  # fmt: skip
        assert self.process.stdout is not None
        with self.process.stdout as said:
            assert said.readline() == b"listening\n"

    def close(self) -> None:
        """End the server and whatever it still runs."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def serve(address: str) -> Callable[[], None]:
    """Fork a child for each that asks, until the standard input ends; return, in a child, what it shall do."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(16)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([0, listener, *running.values()], [], [], 0.02 if running else None)
        if 0 in ready:
            for child in running:
                os.kill(child, signal.SIGKILL)
            return lambda: None
        if listener in ready:
            asked, _ = listener.accept()
            _, streams, _, _ = socket.recv_fds(asked, 1, 3)
            with asked.makefile("rb") as given:
                size = int.from_bytes(given.read(8), "big")
                request = marshal.loads(given.read(size))  # noqa: S302 - from our own script
            import_all()  # at the first question: few test files ask at all
            gc.freeze()  # or each child's collector walks through all the libraries hold
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: a library holds idle threads
                child = os.fork()
            if not child:
                for one in (listener, asked, *running.values()):
                    one.close()
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                return lambda: become(**request)
            for stream in streams:
                os.close(stream)
            running[child] = asked
        for child, asked in list(running.items()):
            if asked in ready:  # who asked has gone
                os.kill(child, signal.SIGKILL)
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                del running[child]
                answer(asked, os.waitstatus_to_exitcode(status))


class NoOther:
    """Find no library but those that are imported: one that a few commands need is for them to find, or to miss."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if top in sys.modules or top in PACKAGES or top in sys.stdlib_module_names:
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def import_all() -> None:
    """Import the libraries, and those modules of robench that need no other."""
    if PACKAGES[0] in sys.modules:
        return
    for name in LIBRARIES:
        import_module(name)
    sys.meta_path.insert(0, NoOther())
    try:
        for package in map(import_module, PACKAGES):
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                with suppress(ModuleNotFoundError):
                    import_module(module.name)
    finally:
        del sys.meta_path[0]
    prepare()


def prepare() -> None:
    """Compile the pages' templates, read the built-ins' declarations and how CLIPs are stored: the same for all."""
    never_wait_for_the_disk()
    for name in ("render.markdown", "report.page"):
        import_module(f"robench_leaderboard.{name}")._template()
    environment = import_module("robench_leaderboard.render.html").environment()
    for page in ("index.html.j2", "compare.html.j2"):
        environment.get_template(page)
    components = import_module("robench.contracts.components")
    declared = import_module("robench.contracts.parameters")
    kinds = [components.Component]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("robench_builtins."):
            declared._field_types(kind)
    with suppress(ModuleNotFoundError):  # transformers 5 has it
        import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("clip")


def answer(asked: socket.socket, code: int) -> None:
    """Tell who asked how it ended; it may be gone."""
    with asked:
        try:
            asked.sendall(f"{code}\n".encode())
        except OSError:
            return


def become(name: str, words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be a new process of ``robench`` or ``python -m pytest``: its folder, environment, module path and words."""
    ours = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    theirs = [*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    first = str(INSTALLED.parent) if name == "robench" else folder
    sys.path[:] = [first, *theirs, *(path for path in sys.path[1:] if path not in ours)]
    site.addsitepackages(None)  # what was installed in the meantime
    invalidate_caches()
    sys.argv = [str(INSTALLED.with_name(name)), *words]
    sys.stdin, sys.stdout = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
    sys.modules.pop("sitecustomize", None)
    hiding = [top for path in theirs if path not in ours for top in ("sitecustomize.py", *PACKAGES)
              if os.path.exists(os.path.join(path, top))]  # fmt: skip
    if hiding or name != "robench":
        for module in [module for module in sys.modules if module.partition(".")[0] in PACKAGES]:
            del sys.modules[module]
    with suppress(ModuleNotFoundError):
        import_module("sitecustomize")
    if name == "robench":
        finish(import_module("robench.cli").main)
    finish(lambda: runpy.run_module(name, run_name="__main__", alter_sys=True))


def finish(main: Callable[[], object]) -> None:
    """Run ``main`` and end as an interpreter does, without taking apart, object by object, what was forked."""
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])()
