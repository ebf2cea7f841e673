"""What ``robench doctor`` looks at without torch: the machine, plugins, versions, the hub."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Literal

from robench.errors import RobenchError

Status = Literal["ok", "warn", "fail"]

GIB = 2**30
#: Below this a CLIP ViT-B/32 in float32 with its activations does not fit; the embedded default does.
LITTLE_MEMORY = 2 * GIB
#: An adversarial set of 10,000 images at 224 x 224 takes 6 GB; a run of the embedded default some 100 MB.
LITTLE_DISK, NO_DISK = 10 * GIB, GIB // 4
#: Seconds the hub is waited for.
PATIENCE = 3.0


@dataclass(frozen=True)
class Check:
    """Report one finding, and what to do about it where something is to be done."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def python() -> Check:
    """Compare the interpreter with what robench requires."""
    from packaging.specifiers import SpecifierSet

    wanted = metadata("robench")["Requires-Python"]
    found = f"{platform.python_version()} ({sys.executable}), robench {version('robench')}"
    if platform.python_version() in SpecifierSet(wanted, prereleases=True):
        return Check("python", "ok", found)
    return Check("python", "fail", found, f"robench needs Python {wanted}; make a new environment with it.")


def processors() -> Check:
    """Count the cores this process may use, and the threads it was told to use."""
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    threads = os.environ.get("OMP_NUM_THREADS", "")
    detail = f"{usable} of {there} cores usable" + (f", OMP_NUM_THREADS={threads}" if threads else "")
    if threads.isdigit() and int(threads) > usable:
        return Check("cpu", "warn", detail, "Set OMP_NUM_THREADS to the usable cores: more threads slow small models.")
    return Check("cpu", "ok", detail)


def memory() -> Check:
    """Tell how much memory is free, within the limit of a container where there is one."""
    free = _free_memory()
    if free is None:
        return Check("memory", "ok", "not known on this system")
    detail = f"{free / GIB:.1f} GiB free"
    if free < LITTLE_MEMORY:
        return Check("memory", "warn", detail, "Close other programs or give --batch-size 16; large models need more.")
    return Check("memory", "ok", detail)


def _free_memory() -> int | None:
    import psutil

    try:
        free = int(psutil.virtual_memory().available)
    except (OSError, RuntimeError, psutil.Error):  # Linux without a readable /proc
        return None
    try:
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text("ascii")) for name in ("max", "current"))
    except (ValueError, OSError):  # "max", or no such group
        return free
    return min(free, limit - used)


def disk(store: Path) -> Check:
    """Tell how much disk is free where the store is, or would be."""
    place = store
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    detail = f"{free / GIB:.1f} GiB free at {store}"
    remedy = "Free some space, or choose another folder with --store or $ROBENCH_STORE."
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Check("disk", "fail", f"{place} cannot be written", remedy)
    status: Status = "fail" if free < NO_DISK else "warn" if free < LITTLE_DISK else "ok"
    return Check("disk", status, detail, "" if status == "ok" else remedy)


def plugins() -> Iterator[Check]:
    """Name the plugins, and each broken one with its reason."""
    from robench.plugin.catalog import catalog

    try:
        known = catalog()
    except RobenchError as error:
        yield Check("plugins", "fail", str(error), "No component can be chosen until that is done.")
        return
    sound = [plugin for plugin in known.plugins if not plugin.broken]
    names = ", ".join(f"{plugin.name} ({plugin.label})" for plugin in sound)
    yield Check("plugins", "ok", f"{len(known.offers)} components from {names or 'no plugin'}")
    for plugin in known.plugins:
        if plugin.broken:
            remedy = f"Mend it or uninstall it: pip uninstall {plugin.distribution}. The others work."
            yield Check("plugins", "warn", f"{plugin.name} ({plugin.label}) is broken: {plugin.broken}", remedy)


def versions() -> Iterator[Check]:
    """Compare installed distributions with the ranges robench declares, and with the versions it was tested with."""
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in requires("robench") or []]
    wanted = [entry for entry in wanted if entry.marker is None or entry.marker.evaluate({"extra": ""})]
    tested = _tested()
    sound, differ = 0, []
    for entry in wanted:
        try:
            found = version(entry.name)
        except PackageNotFoundError:
            remedy = f"pip install '{entry.name}{entry.specifier}'"
            yield Check("versions", "fail", f"{entry.name} is not installed", remedy)
            continue
        if not entry.specifier.contains(found, prereleases=True):
            detail = f"{entry.name} {found} is outside {entry.specifier}"
            yield Check("versions", "fail", detail, f"pip install '{entry.name}{entry.specifier}'")
            continue
        sound += 1
        if tested.get(entry.name.lower(), found.partition("+")[0]) != found.partition("+")[0]:
            differ.append(f"{entry.name} {found} (tested: {tested[entry.name.lower()]})")
    detail = f"{sound} of {len(wanted)} dependencies are within their ranges"
    if differ:
        detail += f"; other than tested, which is allowed: {', '.join(differ)}"
    yield Check("versions", "ok", detail)


def _tested() -> dict[str, str]:
    """Return the versions of constraints.txt, where robench runs from a checkout."""
    file = Path(__file__).resolve().parents[3] / "constraints.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pairs = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.strip().lower(): number.strip() for name, _, number in pairs}


def hub(offline: bool) -> Check:
    """Ask the hub for its front page; nothing is sent or downloaded."""
    if offline or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return Check("hub", "ok", "not asked (offline)")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    reasons: list[str] = []
    asking = threading.Thread(target=_ask, args=(endpoint, reasons), daemon=True)
    asking.start()
    asking.join(PATIENCE)  # a name that does not resolve hangs beyond any socket timeout
    if reasons == [""]:
        return Check("hub", "ok", f"{endpoint} answers")
    why = reasons[0] if reasons else f"no answer in {PATIENCE:g} s"
    remedy = "Give --offline (the embedded default needs no hub), or set HTTPS_PROXY or HF_ENDPOINT."
    return Check("hub", "warn", f"{endpoint} cannot be reached ({why})", remedy)


def _ask(endpoint: str, reasons: list[str]) -> None:
    import urllib.error
    import urllib.request

    try:
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError("HF_ENDPOINT is no http address")
        request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 - http or https, as checked above
        urllib.request.urlopen(request, timeout=PATIENCE).close()  # noqa: S310 - likewise
        reasons.append("")
    except urllib.error.HTTPError:
        reasons.append("")  # whatever it says, it is there
    except (OSError, ValueError) as error:
        reasons.append(str(getattr(error, "reason", error)))
