"""The GitHub workflows: read as YAML, held to least permissions, and our own steps run in a real git repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from .fork_server import script

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTION = ROOT / ".github" / "actions" / "leaderboard" / "action.yml"
CARDS = ROOT / "leaderboard" / "cards"


def load(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in raw.items()}


def steps(path: Path) -> list[dict[str, Any]]:
    found = load(path)
    if "runs" in found:
        return found["runs"]["steps"]
    return [step for job in found["jobs"].values() for step in job["steps"]]


def names() -> list[Path]:
    return [*WORKFLOWS, ACTION]


def test_there_are_five_workflows_and_an_action():
    names = ["ci.yml", "leaderboard-comment.yml", "leaderboard.yml", "pages.yml", "release.yml"]
    assert [path.name for path in WORKFLOWS] == names
    assert load(ACTION)["runs"]["using"] == "composite"


@pytest.mark.parametrize("path", names(), ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_scripts_hold_no_expression(path):
    for step in steps(path):
        assert ("uses" in step) != ("run" in step)
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}|\./\.github/actions/leaderboard", step["uses"])
        else:
            # An expression inside a script is code of whoever wrote the branch's name.
            assert "${{" not in step["run"]
            done = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr


def test_one_commit_of_each_action_is_used_and_its_version_is_said():
    used = re.findall(r"uses: (actions/\S+)@(\S+) # (v\d+\.\d+\.\d+)$", "\n".join(map(Path.read_text, names())), re.M)
    assert sum(path.read_text().count("uses: actions/") for path in names()) == len(used)
    assert len({action for action, _, _ in used}) == len(set(used)) == 6


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_permissions_are_the_least(path):
    found = load(path)
    assert found["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in found["on"]
    assert "secrets." not in path.read_text()
    assert all(job["timeout-minutes"] <= 60 for job in found["jobs"].values())
    writing = {
        "leaderboard-comment": {"comment": {"actions": "read", "pull-requests": "write"}},
        "pages": {"deploy": {"pages": "write", "id-token": "write"}},
    }.get(path.stem, {})
    assert {name: job["permissions"] for name, job in found["jobs"].items() if "permissions" in job} == writing
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


def test_what_may_write_runs_nothing_that_a_pull_request_brought():
    path = ROOT / ".github" / "workflows" / "leaderboard-comment.yml"
    assert list(load(path)["on"]) == ["workflow_run"]
    assert load(path)["on"]["workflow_run"]["workflows"] == [load(ROOT / ".github/workflows/leaderboard.yml")["name"]]
    jobs = load(path)["jobs"]
    for step in jobs["comment"]["steps"]:
        assert "checkout" not in step.get("uses", "")
        assert "robench" not in step.get("run", "")
    # What reads the cards of a pull request is the code of main: a checkout that names no commit of theirs.
    (checkout,) = [step for step in jobs["changes"]["steps"] if "checkout" in step.get("uses", "")]
    assert set(checkout["with"]) == {"persist-credentials"}
    bounded = [step["run"] for job in jobs.values() for step in job["steps"] if "changes.md" in step.get("run", "")]
    assert len(bounded) == 2
    assert all("head -c 60000" in run for run in bounded)


def test_the_cards_of_a_pull_request_are_taken_as_plain_files(fork, tmp_path):
    path = ROOT / ".github" / "workflows" / "leaderboard-comment.yml"
    (take,) = [step["run"] for step in load(path)["jobs"]["changes"]["steps"] if "git archive" in step.get("run", "")]

    def taken() -> subprocess.CompletedProcess[str]:
        fork.git("remote", "remove", "origin") if fork.git("remote") else None
        fork.git("remote", "add", "origin", str(fork.root))
        environment = {**os.environ, "HEAD": fork.git("rev-parse", "HEAD"), "RUNNER_TEMP": str(tmp_path / "runner")}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", take]
        return subprocess.run(command, cwd=fork.root, env=environment, capture_output=True, text=True, check=False)

    done = taken()
    assert done.returncode == 0, done.stdout + done.stderr
    theirs = tmp_path / "runner" / "theirs" / "leaderboard" / "cards"
    assert len(list(theirs.iterdir())) == len(list(fork.cards.iterdir()))

    (fork.cards / "link.json").symlink_to("/etc/passwd")
    fork.commit()
    done = taken()
    assert (done.returncode, "These are no plain files:" in done.stdout) == (1, True)
    done = fork.step("Cards are plain files")
    assert (done.returncode, "These are links, where cards have to be files:" in done.stdout) == (1, True)


def test_ci_runs_what_a_newcomer_runs():
    assert {"run": ".ci/run"} in steps(ROOT / ".github" / "workflows" / "ci.yml")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_action_installs_all_that_ranking_imports():
    (install,) = [step["run"] for step in steps(ACTION) if step.get("name") == "Install"]
    (light,) = [line for line in install.splitlines() if "--quiet click" in line]
    listed = {name.lower() for name in light.partition("--quiet ")[2].split()}
    comment = (ROOT / ".github" / "workflows" / "leaderboard-comment.yml").read_text()
    assert light.strip() in comment
    assert all('PIP_CONSTRAINT="$PWD/' in text for text in (install, comment))
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom robench.cli import main\n"
        "sys.argv = ['robench', 'leaderboard', sys.argv[1], '--check', '-o', sys.argv[2]]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "import importlib.metadata as m\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "known = m.packages_distributions()\n"
        "print('DISTS', *{dist for top in tops for dist in known.get(top, [])})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(CARDS), str(CARDS.parent)], capture_output=True, text=True, check=True
    )
    used = {name.lower() for name in done.stdout.rpartition("DISTS")[2].split()} - {"robench"}
    # What the listed packages require comes with them.
    brought = {
        "markupsafe",
        "attrs",
        "jsonschema-specifications",
        "referencing",
        "rpds-py",
        "pygments",
        "markdown-it-py",
    }
    brought |= {"mdurl", "typing-extensions", "typing_extensions"}
    brought |= {"charset-normalizer"}  # tried by one of them, and done without
    assert used - brought <= listed, used - brought - listed


def test_the_site_is_built_with_every_link_checked(tmp_path):
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "index.html").read_text()
    assert "https://github.com/robench/robench/blob/main/ARCHITECTURE.md" in start
    assert (tmp_path / "how-to" / "victim" / "index.html").is_file()
    assert 'href="leaderboard/digits-models/index.html"' in start
    assert 'href="../leaderboard/zero-shot/index.html"' in (tmp_path / "zero-shot" / "index.html").read_text()


def test_every_leaderboard_is_checked_published_and_linked_from_the_first_page(tmp_path):
    """The steps of the workflow run on the repository's pages, with stand-ins for what they call."""
    pages = {page.parent.relative_to(ROOT).as_posix() for page in (ROOT / "leaderboard").rglob("index.html")}
    assert pages >= {"leaderboard", "leaderboard/digits-models", "leaderboard/reports", "leaderboard/zero-shot"}
    found = load(ROOT / ".github/workflows/pages.yml")["jobs"]["build"]["steps"]
    scripts = {step.get("name"): step["run"] for step in found if "run" in step}
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    for name in ("make", "robench"):
        (stand_ins / name).write_text('#!/bin/sh\necho "$0 $@" >> called\n')
        (stand_ins / name).chmod(0o755)
    for folder in pages:
        (tmp_path / folder / "cards").mkdir(parents=True)
        (tmp_path / folder / "cards" / "one.json").write_text(folder)
        for name in ("index.html", "leaderboard.json"):
            (tmp_path / folder / name).write_text(folder)
    (tmp_path / "build" / "today").mkdir(parents=True)
    environment = {**os.environ, "PATH": f"{stand_ins}:{os.environ['PATH']}"}
    for name in ("Pages are what the cards give", "Build the site"):
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", scripts[name]]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    called = (tmp_path / "called").read_text()
    site = tmp_path / "build" / "site"
    first = (ROOT / "docs" / "README.md").read_text()
    for folder in pages:
        assert f"robench leaderboard {folder}/cards -o {folder} --check\n" in called
        for name in ("index.html", "leaderboard.json", "cards/one.json"):
            assert (site / folder / name).read_text() == folder
        assert f"](../{folder}/LEADERBOARD.md)" in first


def test_what_is_published_is_checked_first():
    build = [
        step["run"] for step in load(ROOT / ".github/workflows/pages.yml")["jobs"]["build"]["steps"] if "run" in step
    ]
    assert [name for name in ("--check", "suite:digits", "make site") if any(name in run for run in build)] == [
        "--check", "suite:digits", "make site",
    ]  # fmt: skip
    tags = load(ROOT / ".github/workflows/release.yml")["jobs"]
    (check,) = [step for step in tags["build"]["steps"] if step.get("name") == "The tag is the version"]
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    for tag, code in ((f"v{version}", 0), ("v99.0", 1)):
        environment = {**os.environ, "KIND": "tag", "TAG": tag}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", check["run"]]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout


# Our own steps, in a real repository


class Fork:
    """A repository with a base commit, on which a branch proposes changes."""

    def __init__(self, root: Path) -> None:
        self.root, self.temp = root / "repository", root / "temp"
        self.cards = self.root / "leaderboard" / "cards"
        self.cards.mkdir(parents=True)
        self.temp.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        for card in CARDS.glob("digits-tiny-clip-*Linf-4*"):
            if "vpt" not in card.name:
                shutil.copy(card, self.cards)
        self.base = self.publish()

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *words]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True).stdout.strip()

    def robench(self, *words: str) -> None:
        subprocess.run([ROBENCH, *words], cwd=self.root, capture_output=True, check=True)

    def publish(self) -> str:
        self.robench("leaderboard", "leaderboard/cards", "-o", "leaderboard")
        return self.commit()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")

    def step(self, name: str) -> subprocess.CompletedProcess[str]:
        (found,) = [step for step in steps(ACTION) if step.get("name") == name]
        given = {
            "CARDS": "leaderboard/cards", "OUT": "leaderboard", "BASE": self.base, "REQUIRE": "reported",
            "RERUN": "1", "SEED": "7",
        }  # fmt: skip
        environment = {
            **os.environ,
            **{key: given[key] for key in found["env"]},
            "PATH": f"{Path(ROBENCH).parent}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary.md"),
            "GITHUB_OUTPUT": str(self.temp / "output"),
        }
        # As GitHub starts a step with `shell: bash`.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def changes(self) -> str:
        done = self.step("Which ranks change")
        assert done.returncode == 0, done.stderr
        assert f"file={self.temp / 'changes.md'}" in (self.temp / "output").read_text()
        text = (self.temp / "changes.md").read_text()
        assert (self.temp / "summary.md").read_text() == text
        return text


ROBENCH = str(script())


@pytest.fixture
def fork(tmp_path):
    return Fork(tmp_path)


def test_a_new_card_with_its_pages_passes_and_its_ranks_are_told(fork):
    for card in CARDS.glob("digits-*vpt*Linf-4*"):
        shutil.copy(card, fork.cards)
    fork.publish()
    text = fork.changes()
    assert "16 cards: 4 new, 0 changed, 0 removed, 0 refused." in text
    assert "| vpt on tiny-clip | - | 1 | - | 79.8" in text
    assert "| none on tiny-clip | 2 | 3 | 59.6" in text
    done = fork.step("Pages are what the cards give")
    assert (done.returncode, done.stdout) == (
        0, "LEADERBOARD.md, index.html and leaderboard.json are what the cards give.\n",
    )  # fmt: skip


def test_a_card_without_its_pages_fails_with_the_difference(fork):
    shutil.copy(next(CARDS.glob("digits-*vpt-pgd-Linf-4*")), fork.cards)
    fork.commit()
    fork.changes()
    done = fork.step("Pages are what the cards give")
    assert done.returncode == 1
    assert "+| 1 | vpt | 79.8" in done.stdout
    assert "write them with robench leaderboard, as they are." in done.stdout


def test_an_edited_page_fails(fork):
    page = fork.root / "leaderboard" / "leaderboard.json"
    page.write_text(re.sub(r'"rate": 0\.\d', '"rate": 0.1', page.read_text(), count=1))
    fork.commit()
    assert "No rank and no number changes." in fork.changes()
    assert fork.step("Pages are what the cards give").returncode == 1


def test_a_polished_card_is_refused_with_its_sentence(fork):
    card = next(fork.cards.glob("*tecoa-pgd-Linf*"))
    raw = json.loads(card.read_text())
    raw["robust"]["correct"] = 499
    card.write_text(json.dumps(raw))
    fork.commit()
    text = fork.changes()
    assert "### Refused" in text
    assert "contradicts itself: robust counts 499 of 500, its bits do not." in text
    done = fork.step("Pages are what the cards give")
    assert done.returncode == 2
    assert "contradicts itself" in done.stderr


def test_without_a_commit_to_compare_with_only_the_pages_are_checked(fork):
    fork.base = ""
    assert fork.changes() == "There is no commit to compare with.\n"
    assert fork.step("Pages are what the cards give").returncode == 0


def test_a_base_without_cards_makes_every_card_new(fork):
    empty = fork.git("commit-tree", fork.git("hash-object", "-t", "tree", "--stdin", "-w"), "-m", "empty")
    fork.base = empty
    assert "12 cards: 12 new, 0 changed, 0 removed, 0 refused." in fork.changes()


def test_a_sample_of_the_new_cards_is_computed_again(fork):
    assert fork.step("Re-run a sample").returncode == 0
    assert (fork.temp / "summary.md").read_text() == "No card is new or changed.\n"

    with tarfile.open(ROOT / "tests" / "golden" / "release.tar.gz") as archive:
        archive.extractall(fork.temp, filter="data")
    for card in (fork.temp / "cards").glob("*.json"):
        shutil.copy(card, fork.cards)
    fork.commit()
    done = fork.step("Re-run a sample")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = (fork.temp / "summary.md").read_text()
    assert "### A sample, computed again (seed 7)" in summary
    assert re.search(r"n8-[0-9a-f]{8}\.json (is identical|repeats within rounding)\.", " ".join(summary.split()))
    assert not (fork.cards / "attestations").exists()

    for card in fork.cards.glob("*n8-*.json"):
        raw = json.loads(card.read_text())
        raw["cost"]["craft"]["forwards"] += 8
        card.write_text(json.dumps(raw))
    fork.commit()
    done = fork.step("Re-run a sample")
    assert (done.returncode, "contradicts itself: " in done.stdout) == (1, True), "an edited card fails"
