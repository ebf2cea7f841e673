"""Labels stand where paths were, and nowhere else."""

from __future__ import annotations

import pytest

from robench.errors import SpecError
from robench.plan.place_labels import Places, default_label, labels_of, read_labels, without_folders
from robench.plan.spec import Spec, plan


def chosen(path, label=""):
    labels = (f"dataset={label}",) if label else ()
    return plan(Spec(dataset=f"folder:{path}", victim=("tiny-clip",), n=1, label=labels))[0].dataset


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "train"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/alice/secret/net.pt holds an EMA", "net.pt holds an EMA"),
        ("read from '/home/alice/x' and ~/y/z", "read from 'x' and z"),
        ("eps 8/255, a and/or b, 50/50, http://host/a/b", "eps 8/255, a and/or b, 50/50, http://host/a/b"),
        ("<= 1% of the images. Nothing.", "<= 1% of the images. Nothing."),
    ],
)
def test_folders_of_whole_paths_are_cut(text, shown):
    assert without_folders(text) == shown


@pytest.mark.parametrize(
    ("path", "label"), [("photos", "photos"), ("a/b/photos/", "photos"), ("../x.npz", "x.npz"), ("/", "root")]
)
def test_the_last_name_is_the_label(path, label):
    assert default_label(path) == label


def test_a_request_has_labels_however_the_path_was_typed(photos):
    for typed in ("train", "./train", str(photos), f"{photos}/"):
        places = Places([chosen(typed, "Flowers")])
        assert places.request({"dataset": f"folder:{typed}", "n": 3, "victim": ["tiny-clip", "trainer"]}) == {
            "dataset": "folder:Flowers",
            "n": 3,
            "victim": ["tiny-clip", "trainer"],
        }


def test_the_current_folder_is_named_by_its_name(photos, monkeypatch):
    monkeypatch.chdir(photos)
    here = chosen(".")
    assert labels_of(here) == {"path": "train"}
    assert Places([here]).request({"dataset": "folder:.", "eps": ["8/255"]}) == {
        "dataset": "folder:train",
        "eps": ["8/255"],
    }
    assert Places([here]).hide("Passed 5%. Done.") == "Passed 5%. Done."


def test_sentences_keep_words_that_are_also_names_of_folders(photos):
    places = Places([chosen("train", "Flowers")])
    assert places.hide("Images of the train split leak.") == "Images of the train split leak."
    assert places.hide(f"{photos} was unwrapped") == "Flowers was unwrapped"


def test_an_id_on_a_hub_is_no_place(photos):
    victim = plan(Spec(dataset="digits", victim=("clip-vit-b32",), n=1))[0].victim
    assert labels_of(victim) == {}


@pytest.mark.parametrize("text", ["a/b", "a[b]", "", "x" * 101, "a\nb", "a,b"])
def test_a_label_is_a_plain_name(text):
    with pytest.raises(SpecError):
        read_labels([f"dataset={text}"], {"dataset": True, "victim": False})
