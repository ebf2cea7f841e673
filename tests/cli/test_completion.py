"""Completion by click's own protocol, in real processes, and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "peft", "sklearn", "scipy", "torchvision"}


@pytest.fixture
def tab(robench):
    """Return a function that gives what is offered at the end of a command line, as zsh gets it: value -> help."""

    def run(line):
        words = ["robench", *line.split(" ")]
        done = robench(
            _ROBENCH_COMPLETE="zsh_complete",
            COMP_WORDS=" ".join(f"'{word}'" for word in words if word),
            COMP_CWORD=str(len(words) - 1),
        )
        assert (done.code, done.err) == (0, ""), done.said
        lines = done.out.split("\n")
        return {value.replace("\\:", ":"): words for _, value, words in zip(*[iter(lines)] * 3, strict=False)}

    return run


COMPONENTS = {
    "run --defense ": {"lora-ce", "none", "tecoa", "vpt"},
    "run --defense te": {"tecoa"},
    "run --defense none,v": {"none,vpt"},
    "run --defense none,": {"none,lora-ce", "none,none", "none,tecoa", "none,vpt"},
    "run --defense tecoa[ep": {"tecoa[epochs=", "tecoa[eps="},
    "run --defense none,tecoa[epochs=5,ra": {"none,tecoa[epochs=5,rank="},
    "run --defense tecoa[trainable=": {"tecoa[trainable=lora", "tecoa[trainable=full"},
    "run --attack pg": {"pgd"},
    "run --surrogate se": {"self"},
    "run --dataset im": {"imagefolder", "imagenet", "imagenet-a", "imagenet-r", "imagenet-sketch", "imagenet-v2"},
    "run -p attack.targ": {"attack.target=", "attack.targets="},
    "run -p attack.target=l": {"attack.target=least-likely"},
    "run -p attack.random_start=": {"attack.random_start=true", "attack.random_start=false"},
    "run --attack fgsm -p attack.": set(),
    "run -p pgd.st": {"pgd.steps=", "pgd.step_size="},
    "run -p att": {"attack."},
    "run -p nobody.st": set(),
    "show tiny": {"tiny-clip", "tiny-imagenet"},
    "train tiny": {"tiny-clip", "tiny-imagenet"},
    "expl": {"explain"},
    "completion z": {"zsh"},
}


@pytest.mark.parametrize("line", COMPONENTS)
def test_names_parameters_and_choices(tab, line):
    found = set(tab(line))
    if line == "run --defense tecoa[ep":
        assert "tecoa[epochs=" in found
        assert all(value.startswith("tecoa[ep") for value in found)
    elif line == "run --defense tecoa[trainable=":
        assert "tecoa[trainable=full" in found
        assert len(found) > 1
    elif line.startswith("run -p pgd.st"):
        assert {"pgd.steps=", "pgd.step_size="} <= found
    elif line in ("run --defense ", "run --defense none,", "run --attack pg"):
        assert COMPONENTS[line] <= found  # plugins of this environment may offer more
    else:
        assert found == COMPONENTS[line]


def test_what_a_name_is_stands_beside_it(tab):
    assert tab("show fgsm")["fgsm"].startswith("Take one step of length eps")
    assert tab("run -p attack.steps")["attack.steps="] == "gradient steps"


def test_components_named_so_far_are_preferred(tab):
    with_pgd, with_fgsm = tab("run --attack pgd -p attack."), tab("run --attack fgsm -p attack.")
    assert "attack.steps=" in with_pgd
    assert with_fgsm == {}
    assert {"pgd."} <= set(tab("run --attack pgd[steps=5] -p pg"))


def test_files_of_the_kind_that_is_wanted(tab, tmp_path):
    for name in (
        "results/cards/digits.json",
        "suites/mine.toml",
        "local.json",
        "local.toml",
        "other.txt",
        ".hidden.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert set(tab("explain ")) == {"local.json", "results/", "suites/", "results/cards/digits.json"}
    assert set(tab("verify di")) == {"results/cards/digits.json"}
    assert set(tab("leaderboard results/cards/")) == {"results/cards/digits.json"}
    assert set(tab("run lo")) == {"local.toml"}
    assert set(tab("run mi")) == {"suites/mine.toml"}


def test_models_and_folders_of_ones_own(tab, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "net.py").write_text("def build():\n    pass\n\nclass Net:\n    pass\n\nprint('ran')\n")
    assert set(tab("run --victim net")) == {"net.py"}
    assert set(tab("run --victim net.py:")) == {"net.py:build", "net.py:Net"}
    assert set(tab("run --victim tiny-clip,net.py:b")) == {"tiny-clip,net.py:build"}
    assert set(tab("run --dataset folder:ph")) == {"folder:photos/"}
    assert set(tab("run --victim hf-dir:")) == {"hf-dir:photos/", "hf-dir:net.py"}


@pytest.mark.parametrize("line", ["run --victim gone.py:", "run --victim gone/", "run --dataset folder:gone/x"])
def test_what_cannot_be_completed_is_silence(tab, line):
    assert tab(line) == {}


@pytest.mark.parametrize("line", ["run --defense te", "run -p attack.s", "run --victim net.py:", "show t"])
def test_completion_imports_no_torch(line, tmp_path):
    (tmp_path / "net.py").write_text("def build():\n    pass\n")
    words = ["robench", *line.split(" ")]
    code = (
        "import sys\n"
        "from robench.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print('MODULES', *sorted(sys.modules))\n"
    )
    asked = {"_ROBENCH_COMPLETE": "bash_complete", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, **asked},
    )  # fmt: skip
    offered, _, imported = done.stdout.partition("MODULES")
    assert offered.startswith("plain,"), done.stderr
    assert not set(imported.split()) & HEAVY


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("robench run --defense te", ["tecoa"]),
        ("robench run -p attack.target=l", ["least-likely"]),
        ("robench run -p attack.random_start=", ["true", "false"]),
        ("robench run --victim net.py:b", ["build"]),
        ("robench run --victim net.py:", ["build"]),
        ("robench run --dataset folder:ph", ["photos/"]),
        ("robench run --attack=pgd-", ["pgd-targeted"]),
        ("robench run --defense tecoa[epochs=5,ra", ["5,rank="]),
        ("robench run --defense 'tecoa[epochs=5,ra", ["tecoa[epochs=5,rank="]),
        ("robench expl", ["explain"]),
        ("robench run --seed 1 --norm L2 --surrogate sel", ["self"]),
        ("robench run --precision b", ["bf16"]),
    ],
)
def test_in_a_real_bash_only_what_bash_does_not_have_is_given(robench, tmp_path, line, offered):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    (tmp_path / "photos").mkdir()
    (tmp_path / "net.py").write_text("def build():\n    pass\n")
    script = robench("completion", "bash").out
    assert subprocess.run([bash, "-n"], input=script, text=True, check=False).returncode == 0
    # Words as readline cuts them: at blanks, and = and : are words of their own where they are not quoted.
    words = (line if "'" in line else line.replace("=", " = ").replace(":", " : ")).split()
    array = " ".join('"' + word + '"' for word in words)
    program = (
        f"compopt() {{ :; }}\n{script}\nCOMP_WORDS=({array})\nCOMP_CWORD={len(words) - 1}\n"
        '_robench_completion robench\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert done.stdout.split() == offered, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_where_to_put_it(robench, shell):
    done = robench("completion", shell)
    assert done.code == 0
    assert "_ROBENCH_COMPLETE=" in done.out
    assert f"# robench completion {shell} > " in done.out


def test_another_shell_is_refused(robench):
    done = robench("completion", "csh")
    assert done.code == 2
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in done.said


def test_every_command_shows_an_example():
    from robench.cli.commands import robench as group

    for name, command in group.commands.items():
        text = command.help or ""
        assert f"robench {name}" in text, f"robench {name} --help shows no example"
        assert text.partition("\n")[0].rstrip(".") != name
