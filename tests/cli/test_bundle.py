"""A bundle is all that a stranger needs: made here, checked with nothing but the core, refused where it is odd."""

from __future__ import annotations

import io
import json
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from robench.cli import commands
from robench.errors import CardError
from robench.verify.bundle_file import MANIFEST, Bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundled(real_run, tmp_path_factory):
    """Return a bundle of a card of the real run."""
    file = tmp_path_factory.mktemp("bundle") / "card.zip"
    card = real_run.card("tecoa-pgd")
    words = ["bundle", card, "-o", file, "--store", real_run.store]
    done = CliRunner().invoke(commands.robench, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "bundle: " in done.output
    return file


def verified(file):
    done = CliRunner().invoke(commands.robench, ["verify", str(file)])
    return done.exit_code if not isinstance(done.exception, CardError) else 2, f"{done.output} {done.exception}"


def rewritten(bundled, tmp_path, change):
    """Return a copy of the bundle whose entries, by name, were changed; its list of contents follows."""
    import hashlib

    with zipfile.ZipFile(bundled) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    manifest = json.loads(contents.pop(MANIFEST))
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in contents.items()
    }
    file = tmp_path / "changed.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**contents, MANIFEST: json.dumps(manifest).encode()}.items():
            archive.writestr(name, content)
    return file


def test_a_bundle_holds_json_and_safetensors_and_the_same_bytes_each_time(bundled, real_run, tmp_path):
    with zipfile.ZipFile(bundled) as archive:
        names = archive.namelist()
    assert {name.rpartition(".")[2] for name in names} == {"json", "safetensors"}
    kinds = {name.split("/")[1] for name in names if name.startswith("artifacts/")}
    assert kinds == {"fit", "outcomes", "adversarial", "probes"}
    again = tmp_path / "again.zip"
    words = ["bundle", real_run.card("tecoa-pgd"), "-o", again, "--store", real_run.store]
    assert CliRunner().invoke(commands.robench, [*map(str, words)]).exit_code == 0
    assert again.read_bytes() == bundled.read_bytes()


def test_a_bundle_is_checked_without_a_plugin_a_model_or_the_data(bundled, tmp_path):
    """In a process that finds the harness alone: no built-in component, no other plugin, an empty cache."""
    core = tmp_path / "core"
    shutil.copytree(ROOT / "benchmark" / "robench", core / "robench", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import os, sys\n"
        f"here = {str(core)!r}\n"
        "ours = [f'{name}/__init__.py' for name in ('robench', 'robench_builtins', 'robench_leaderboard')]\n"
        "other = [place for place in sys.path if not any(os.path.isfile(os.path.join(place, name)) for name in ours)]\n"
        "sys.path[:] = [here, *other]\n"
        "import importlib.util as find\n"
        "assert find.find_spec('robench').origin.startswith(here)\n"
        "assert find.find_spec('robench_builtins') is None\n"
        "sys.argv = ['robench', 'verify', sys.argv[1]]\n"
        "from robench.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    print('CODE', stop.code)\n"
        "models = [name for name in sys.modules if name.startswith(('robench_', 'transformers', 'peft'))]\n"
        "print('MODELS', models)\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundled)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"{bundled} is identical." in done.stdout
    assert "CODE 0" in done.stdout or "CODE None" in done.stdout
    assert "MODELS []" in done.stdout
    for what in ("clean outcomes", "robust outcomes", "fit", "gate's probes", "adversarial set", "ball and box"):
        assert f"ok          {what}: " in done.stdout
    assert list(tmp_path.iterdir()) == [core], "nothing is unpacked"


def test_a_bundled_card_can_be_submitted_without_its_store(bundled, real_run, tmp_path):
    words = ["submit", bundled, "--to", tmp_path, "--store", tmp_path / "nowhere"]
    done = CliRunner().invoke(commands.robench, [*map(str, words)])
    assert done.exit_code == 0, done.output
    assert "(evidence checked)" in done.output
    assert [path.name for path in tmp_path.glob("*.json")] == [real_run.card("tecoa-pgd").name]


def edited(name, edit):
    def change(contents):
        (found,) = [each for each in contents if name in each and each.endswith("json")]
        raw = json.loads(contents[found])
        edit(raw)
        contents[found] = json.dumps(raw).encode()

    return change


def other_pixels(contents):
    from safetensors.torch import load, save

    (name,) = [each for each in contents if each.startswith("images/")]
    images = load(contents[name])["images"]
    images[0] = 255 - images[0]
    contents[name] = save({"images": images})


def other_answers(contents):
    from safetensors.torch import load, save

    card = json.loads(contents["card.json"])
    name = f"artifacts/outcomes/{card['robust']['artifact']}/data.safetensors"
    tensors = load(contents[name])
    tensors["hits"][:] = 1
    contents[name] = save(tensors)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (edited("card.json", lambda raw: raw["cost"]["fit"].update(seconds=0.01)), "its cost is another in the store"),
        (edited("/fit/", lambda raw: raw["cost"].update(seconds=0.01)), "its cost is another in the store"),
        (edited("/fit/", lambda raw: raw["training"].update(trainable=7)), "trainable is 4096 in the card, 7 in"),
        (other_pixels, "the clean images are not those that were answered"),
        (other_answers, "robust outcomes: 60 of 60 right in the store"),
    ],
    ids=["card", "fit's cost", "fit's training", "clean images", "answers"],
)
def test_evidence_that_contradicts_its_card_is_found(bundled, tmp_path, change, sentence):
    code, text = verified(rewritten(bundled, tmp_path, change))
    assert code == 1, text
    assert sentence in text
    assert "does not repeat. It does not verify" in text


def test_a_changed_entry_is_not_what_the_list_says(bundled, tmp_path):
    with zipfile.ZipFile(bundled) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["card.json"] = contents["card.json"].replace(b"tecoa", b"other")
    file = tmp_path / "changed.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    code, text = verified(file)
    assert code == 2
    assert "card.json is not what the bundle says it is; it was changed or damaged." in text


def hostile(file, name, content=b"{}", mode=stat.S_IFREG | 0o644, bundled=None):
    shutil.copy(bundled, file)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
    return file


@pytest.mark.parametrize(
    ("name", "content", "mode", "sentence"),
    [
        ("/etc/cron.d/x", b"{}", stat.S_IFREG, "which leads out of the bundle; nothing of it was read."),
        ("artifacts/../../x", b"{}", stat.S_IFREG, "which leads out of the bundle"),
        ("C:\\x", b"{}", stat.S_IFREG, "which leads out of the bundle"),
        (
            "images/0.safetensors",
            b"/etc/passwd",
            stat.S_IFLNK | 0o777,
            "which is a link; a bundle has plain files only.",
        ),
        ("artifacts/fit/a/model.pkl", b"x", stat.S_IFREG, "a bundle has a card, artifacts and images"),
        ("images/512.safetensors", b"\0" * (1 << 24), stat.S_IFREG, "no evidence is that regular."),
        ("images/512.safetensors", b"{}", stat.S_IFREG, "which its list of contents does not name."),
        ("card.json", b"{}", stat.S_IFREG, "twice."),
    ],
    ids=["absolute", "up", "drive", "link", "pickle", "bomb", "unlisted", "twice"],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_no_bundle_holds_is_refused_in_a_sentence(bundled, tmp_path, name, content, mode, sentence):
    code, text = verified(hostile(tmp_path / "odd.zip", name, content, mode, bundled))
    assert code == 2
    assert sentence in text
    assert "Traceback" not in text


def test_what_is_no_bundle_is_said(tmp_path):
    file = tmp_path / "x.zip"
    file.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with pytest.raises(CardError, match="is no bundle that can be read"):
        Bundle(file)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("bundle.json", '{"kind": "other"}')
    file.write_bytes(buffer.getvalue())
    with pytest.raises(CardError, match="is no bundle of robench; name one that robench bundle wrote"):
        Bundle(file)


def test_a_store_without_the_evidence_is_said(real_run, tmp_path):
    words = ["bundle", real_run.card("tecoa-pgd"), "-o", tmp_path / "x.zip", "--store", tmp_path / "empty"]
    done = CliRunner().invoke(commands.robench, [*map(str, words)])
    assert "artifacts of this card (fit first); name the store of its run with --store" in str(done.exception)
    assert not (tmp_path / "x.zip").exists()
