"""``robench push``: what is uploaded where, with huggingface_hub's own signatures, and what its refusals mean."""

from __future__ import annotations

import inspect
import json
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
import yaml
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from robench.cli import main
from robench.evidence.card_file import read
from robench_leaderboard import read_cards

from ..bad_inputs import REAL, ROOT

CARDS = ROOT / "leaderboard" / "digits-models" / "cards"
ONE = "digits-linear-none-fgsm-Linf-4_255-seed0-n500-9791b2b1.json"


class Hub:
    """Take the calls as HfApi would take them: whatever its signature does not know is a TypeError."""

    def __init__(self):
        self.calls, self.files, self.public, self.error = [], {}, False, None

    def called(self, name, api, args, words):
        bound = inspect.signature(getattr(HfApi, name)).bind(api, *args, **words)
        given = {key: value for key, value in bound.arguments.items() if key != "self"}
        self.calls.append((name, given))
        if self.error is not None:
            raise self.error
        return given

    def api(self, **words):
        inspect.signature(HfApi).bind(**words)
        hub = self

        class Api:
            def create_repo(self, *args, **words):
                given = hub.called("create_repo", self, args, words)
                return f"https://hub/{given['repo_type']}s/{given['repo_id']}"

            def repo_info(self, *args, **words):
                hub.called("repo_info", self, args, words)
                return SimpleNamespace(private=not hub.public)

            def upload_folder(self, *args, **words):
                given = hub.called("upload_folder", self, args, words)
                folder = given.pop("folder_path")
                hub.files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

        return Api()


@pytest.fixture
def hub(monkeypatch):
    made = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", made.api)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    for name in ("HF_HUB_OFFLINE", "ROBENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def push(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["robench", "push", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        return stopped.value.code or 0, done.out, " ".join(done.err.split())

    return run


def test_cards_become_a_data_set_with_their_leaderboard(hub, push, tmp_path):
    code, out, err = push(CARDS, "--to", "me/robustness")
    assert code == 0, err
    assert out.endswith("dataset repository: https://hub/datasets/me/robustness\n")
    (created, uploaded) = hub.calls
    assert created == ("create_repo", {"repo_id": "me/robustness", "repo_type": "dataset", "private": None,
                                       "exist_ok": True})  # fmt: skip
    assert uploaded == ("upload_folder", {"repo_id": "me/robustness", "repo_type": "dataset",
                                          "commit_message": "Upload 24 cards of robench"})  # fmt: skip
    assert {name for name in hub.files if "/" not in name} == {
        "README.md", "LEADERBOARD.md", "index.html", "leaderboard.json", "results.jsonl",
    }  # fmt: skip
    # The cards are whole: they read back, and each record is of one of them.
    (tmp_path / ONE).write_bytes(hub.files[f"cards/{ONE}"])
    assert read(tmp_path / ONE) == read(CARDS / ONE)
    records = [json.loads(line) for line in hub.files["results.jsonl"].splitlines()]
    assert [record["id"] for record in records] == [card.id for card in read_cards([CARDS])]
    readme = hub.files["README.md"].decode()
    metadata = yaml.safe_load(readme.split("---\n")[1])
    assert metadata["configs"] == [
        {"config_name": "default", "data_files": [{"split": "test", "path": "results.jsonl"}]}
    ]
    assert (metadata["pretty_name"], metadata["size_categories"]) == ("Adversarial robustness on digits", ["n<1K"])
    assert huggingface_hub.DatasetCard(readme).data.task_categories == ["image-classification"]
    assert "| 1 | none | linear \\[batch\\_size=64\\] | 94.0 [91.6, 95.8] |" in readme
    assert f"(cards/{ONE})" in readme


def exported(folder):
    folder.mkdir()
    for name in ("model.pt2", "model.safetensors", "README.md"):
        (folder / name).write_text(name)
    return folder


def test_an_exported_defense_becomes_a_model(hub, push, tmp_path):
    code, out, err = push(exported(tmp_path / "my"), "--to", "me/my", "--private")
    assert code == 0, err
    assert [name for name, _ in hub.calls] == ["create_repo", "repo_info", "upload_folder"]
    assert (hub.calls[0][1]["private"], hub.calls[0][1]["repo_type"]) == (True, "model")
    assert hub.files == {name: name.encode() for name in ("model.pt2", "model.safetensors", "README.md")}
    assert out.endswith("model repository: https://hub/models/me/my\n")


def test_a_public_repository_is_not_pushed_to_in_private(hub, push, tmp_path):
    hub.public = True
    code, _, err = push(exported(tmp_path / "my"), "--to", "me/my", "--private")
    assert code == 2
    assert "me/my is there already, and public, so --private would not hold" in err
    assert "upload_folder" not in {name for name, _ in hub.calls}


def test_a_dry_run_reaches_for_nothing(hub, push, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    code, out, _ = push(REAL, "--to", "me/robustness", "--private", "--dry-run")
    assert (code, hub.calls) == (0, [])
    assert f"cards/{REAL.name} (" in out
    assert out.endswith("Would be uploaded to the dataset repository me/robustness, private.\n")


def test_without_a_login(hub, push, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    code, _, err = push(REAL, "--to", "me/x")
    assert (code, hub.calls) == (2, [])
    assert err.endswith("Nobody is logged in to the hub; log in with 'hf auth login', or set HF_TOKEN to a token that "
                        "may write.")  # fmt: skip


def test_offline(hub, push, monkeypatch):
    monkeypatch.setenv("ROBENCH_OFFLINE", "1")
    code, _, err = push(REAL, "--to", "me/x")
    assert (code, hub.calls) == (2, [])
    assert "HF_HUB_OFFLINE or ROBENCH_OFFLINE is set, and pushing needs the hub; unset it" in err


def refused(status):
    # The HTTP library below it is another one in each version.
    answer = SimpleNamespace(status_code=status, headers={}, request=None)
    return HfHubHTTPError("no", response=answer)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (refused(403), "The hub does not let you write to me/x (403); log in with 'hf auth login'"),
        (refused(500), "The hub refused me/x (no"),
        (ConnectionError("no route"), "The hub was not reached (no route); check the network and HF_ENDPOINT"),
    ],
)
def test_what_the_hub_answers(hub, push, error, sentence):
    hub.error = error
    code, _, err = push(REAL, "--to", "me/x")
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["x", "me/", "a/b/c", "me/x y", "me/..", "https://hub/me/x", "me/a--b"])
def test_what_is_no_repository(hub, push, name):
    code, _, err = push(REAL, "--to", name)
    assert (code, hub.calls) == (2, [])
    assert f"'{name}' is no repository of the hub; write OWNER/NAME, such as your-name/my-tecoa." in err


def test_what_is_nothing_to_push(hub, push, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    model = exported(tmp_path / "my")
    for words, sentence in (
        ([tmp_path / "empty"], "is empty, so there is nothing to push"),
        ([tmp_path / "none"], "does not exist; name a folder of cards"),
        ([tmp_path / "other"], "There are no cards in "),
        ([model, REAL], "An exported defense is pushed alone"),
    ):
        code, _, err = push(*words, "--to", "me/x")
        assert (code, hub.calls) == (2, [])
        assert sentence in err
