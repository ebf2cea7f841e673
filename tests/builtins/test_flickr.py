"""Flickr8k and Flickr30k in the forms in which they are handed on: one image a class, its caption the class's name."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from robench import DataError
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.datasets.flickr import Flickr, own_caption
from robench_builtins.datasets.shared.caption_files import find

#: Image -> captions; of each form below, three test images in this order.
PHOTOS = {
    "1000092795.jpg": [
        "Two young guys look at their hands .",
        "Two young , White males are outside .",
    ],
    "10002456.jpg": ["Several men in hard hats are operating a giant pulley system .", 'Workers look down from "up" .'],
    "1000268201.jpg": ["A child, in a pink dress, climbs stairs .", "A little girl enters a wooden house ."],
}
NAMES = sorted(PHOTOS)
FIRST = tuple(PHOTOS[name][0] for name in NAMES)


def photos(folder: Path, names=PHOTOS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        draw = np.random.default_rng(sum(name.encode()))
        Image.fromarray(draw.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(folder / name, "PNG")


def captions_txt(root: Path, content=PHOTOS) -> None:
    rows = ['{},"{}"'.format(name, text.replace('"', '""')) for name, texts in content.items() for text in texts]
    (root / "captions.txt").write_text("\n".join(["image,caption", *rows]) + "\n")


def flickr8k_kaggle(root: Path) -> None:
    photos(root / "Images")
    captions_txt(root)


def flickr8k(root: Path) -> None:
    photos(root / "Flickr8k_Dataset" / "Flicker8k_Dataset", [*PHOTOS, "9.jpg"])
    (root / "Flickr8k_text").mkdir()
    rows = [f"{name}#{place}\t{text}" for name, texts in PHOTOS.items() for place, text in enumerate(texts)]
    # An image of the training split, and one that the set itself does not hold.
    rows = ["9.jpg#0\tA train image .", *reversed(rows), "2258277193_586949ec62.jpg.1#0\tSome dogs ."]
    (root / "Flickr8k_text" / "Flickr8k.token.txt").write_text("\n".join(rows) + "\n")
    (root / "Flickr8k_text" / "Flickr_8k.testImages.txt").write_text("\n".join(PHOTOS) + "\n")


def flickr30k(root: Path) -> None:
    photos(root / "flickr30k-images")
    rows = [f"{name}#{place}\t{text}\r" for name, texts in PHOTOS.items() for place, text in enumerate(texts)]
    (root / "results_20130124.token").write_text("\n".join(rows))


def flickr30k_kaggle(root: Path) -> None:
    photos(root / "flickr30k_images" / "flickr30k_images")
    rows = [f"{name}| {place}| {text}" for name, texts in PHOTOS.items() for place, text in enumerate(texts)]
    broken = rows[-1].replace("1| A little", "1   A little")
    assert broken != rows[-1]
    text = "\n".join(["image_name| comment_number| comment", *rows[:-1], broken]) + "\n"
    (root / "flickr30k_images" / "results.csv").write_text(text)


def karpathy(root: Path, name="dataset_flickr30k.json") -> None:
    photos(root / "images", [*PHOTOS, "9.jpg"])
    images = [
        {"filename": name, "split": "test", "sentences": [{"raw": text, "tokens": []} for text in texts]}
        for name, texts in PHOTOS.items()
    ]
    images.insert(1, {"filename": "9.jpg", "split": "train", "sentences": [{"raw": "A train image ."}]})
    (root / name).write_text(json.dumps({"images": images, "dataset": "flickr30k"}))


LAYOUTS = {
    "Flickr8k of Kaggle": flickr8k_kaggle,
    "Flickr8k": flickr8k,
    "Flickr30k": flickr30k,
    "Flickr30k of Kaggle": flickr30k_kaggle,
    "Karpathy's": karpathy,
    "Karpathy's Flickr8k": lambda root: karpathy(root, "dataset_flickr8k.json"),
}


def serve(root: Path, **parameters: Any) -> Flickr:
    return Flickr(path=str(root), **{"size": 8, **parameters})


def cropped(path: Path) -> Any:
    """Return the photo of 12 x 10 pixels without its sides, resized."""
    with Image.open(path) as photo:
        return np.asarray(photo.resize((8, 8), Image.Resampling.BICUBIC, box=(1, 0, 11, 10)))


# The forms


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_each_image_is_a_class_named_by_its_caption(layout, tmp_path):
    layout(tmp_path)
    data = serve(tmp_path)
    assert data.classes() == FIRST
    test = data.load("test")
    assert test.labels.tolist() == [0, 1, 2]
    assert test.shape == (3, 8, 8)
    for place, name in enumerate(NAMES):
        (path,) = tmp_path.rglob(name)
        assert np.array_equal(test.images()[place].permute(1, 2, 0).numpy(), cropped(path))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_another_caption_can_be_chosen(layout, tmp_path):
    layout(tmp_path)
    assert serve(tmp_path, caption=1).classes() == tuple(PHOTOS[name][1] for name in NAMES)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_each_form_conforms(layout, tmp_path):
    layout(tmp_path)
    results = {result.name: result for result in check_component(serve(tmp_path))}
    assert {name: one.sentence for name, one in results.items() if one.status == "failed"} == {}
    assert results["class names"].status == results["images and labels"].status == "passed"
    assert results["repeatable"].status == results["any slice"].status == "passed"


def test_the_component_says_what_it_is():
    data = catalog().find("dataset", "flickr").component
    assert data is Flickr
    assert (data.templates, data.victim) == (("{}",), "clip-vit-b32")
    assert "Young et al., From Image Descriptions to Visual Denotations (TACL 2014)" in data.source
    assert "Hodosh et al." in data.source
    assert "non-commercial research" in data.licence
    assert Flickr.shorthand("flickr:my photos") == {"path": "my photos"}
    assert Flickr.shorthand("folder:photos") is None


def test_karpathy_s_split_comes_before_the_other_files(tmp_path):
    flickr30k(tmp_path)
    karpathy(tmp_path)
    (tmp_path / "captions.txt").write_text("nonsense")
    assert serve(tmp_path).classes() == FIRST
    assert serve(tmp_path).files() == (tmp_path, tmp_path / "dataset_flickr30k.json")


def test_what_the_result_depends_on_is_named(tmp_path):
    flickr8k(tmp_path)
    texts = tmp_path / "Flickr8k_text"
    assert serve(tmp_path).files() == (
        tmp_path,
        texts / "Flickr8k.token.txt",
        texts / "Flickr_8k.testImages.txt",
    )


def test_without_the_official_list_every_image_counts(tmp_path):
    flickr8k(tmp_path)
    (tmp_path / "Flickr8k_text" / "Flickr_8k.testImages.txt").unlink()
    assert set(serve(tmp_path, images=4).classes()) == {*FIRST, "A train image ."}


def test_captions_keep_commas_and_quotation_marks(tmp_path):
    for place, layout in enumerate((flickr8k_kaggle, flickr30k_kaggle)):
        root = tmp_path / str(place)
        root.mkdir()
        layout(root)
        assert serve(root).classes()[NAMES.index("1000268201.jpg")] == "A child, in a pink dress, climbs stairs ."
        assert serve(root, caption=1).classes()[NAMES.index("10002456.jpg")] == 'Workers look down from "up" .'


def test_a_byte_order_mark_is_no_part_of_the_head(tmp_path):
    flickr8k_kaggle(tmp_path)
    path = tmp_path / "captions.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert serve(tmp_path).classes() == FIRST


# Which images


def many(root: Path, count=40) -> dict[str, list[str]]:
    content = {f"{place:03d}.jpg": [f"caption {place}", f"other {place}"] for place in range(count)}
    photos(root / "Images", content)
    captions_txt(root, content)
    return content


def test_images_are_drawn_by_the_seed_and_more_hold_fewer(tmp_path):
    many(tmp_path)
    few, more = (set(serve(tmp_path, images=count).classes()) for count in (10, 20))
    assert len(few) == 10
    assert few < more
    assert serve(tmp_path, images=10).classes() == serve(tmp_path, images=10).classes()
    drawn = {serve(tmp_path, images=10, split_seed=seed).classes() for seed in range(5)}
    assert len(drawn) == 5
    assert len(serve(tmp_path, images=10).load("test")) == 10
    assert len(serve(tmp_path).classes()) == 40


def test_images_and_captions_stay_together(tmp_path):
    many(tmp_path)
    data = serve(tmp_path, images=15)
    for image, caption in zip(data.load("test").images(), data.classes(), strict=True):
        name = f"{int(caption.split()[1]):03d}.jpg"
        assert np.array_equal(image.permute(1, 2, 0).numpy(), cropped(tmp_path / "Images" / name))


def test_the_order_of_the_file_does_not_matter(tmp_path):
    content = many(tmp_path)
    before = serve(tmp_path, images=10).classes()
    captions_txt(tmp_path, dict(reversed(content.items())))
    assert serve(tmp_path, images=10).classes() == before


# Captions that cannot stand


def test_what_another_image_says_gives_way_to_the_next_caption(tmp_path):
    content = {"a.jpg": ["A dog runs ."], "b.jpg": ["a dog  runs", "Two dogs ."], "c.jpg": ["  ", "...", "A cat ."]}
    photos(tmp_path / "Images", content)
    captions_txt(tmp_path, content)
    assert serve(tmp_path).classes() == ("A dog runs .", "Two dogs .", "A cat .")


@pytest.mark.parametrize(("first", "expected"), [(0, "one"), (1, "two"), (2, "three"), (3, "one"), (7, "two")])
def test_captions_are_taken_around(first, expected):
    assert own_caption(["one", "two", "three"], first, set(), "a.jpg", Path("x")) == expected


def test_an_image_with_fewer_captions_than_others_begins_again(tmp_path):
    content = {"a.jpg": ["one", "two", "three"], "b.jpg": ["four", "five"]}
    photos(tmp_path / "Images", content)
    captions_txt(tmp_path, content)
    assert serve(tmp_path, caption=2).classes() == ("three", "four")


def sentence(data: Flickr) -> str:
    with pytest.raises(DataError) as raised:
        data.classes()
    return str(raised.value)


@pytest.mark.parametrize("captions", [["A dog."], [""], ["", "a DOG", "?!"]])
def test_an_image_without_a_caption_of_its_own(captions, tmp_path):
    content = {"a.jpg": ["A dog"], "b.jpg": captions}
    photos(tmp_path / "Images", content)
    captions_txt(tmp_path, content)
    assert sentence(serve(tmp_path)) == (
        f"image b.jpg has no caption of its own in {tmp_path / 'captions.txt'}: all are empty or another image's. Give "
        "it one, or remove its lines."
    )


def test_karpathy_s_image_without_sentences(tmp_path):
    photos(tmp_path / "images", ["a.jpg", "b.jpg"])
    images = [{"filename": "a.jpg", "split": "test", "sentences": [{"raw": "A dog"}]}]
    images.append({"filename": "b.jpg", "split": "test", "sentences": []})
    (tmp_path / "dataset_flickr8k.json").write_text(json.dumps({"images": images}))
    assert "image b.jpg has no caption of its own in" in sentence(serve(tmp_path))


def test_a_caption_number_that_no_image_has(tmp_path):
    flickr8k_kaggle(tmp_path)
    assert sentence(serve(tmp_path, caption=2)) == (
        f"{tmp_path / 'captions.txt'} has at most 2 captions an image, and caption=2 counts from 0; pass "
        "-p dataset.caption=1 or less."
    )


# Files that are not there, or are something else


def test_missing_images_shrink_no_gallery_unseen(tmp_path):
    many(tmp_path)
    (tmp_path / "Images" / "003.jpg").unlink()
    assert len(serve(tmp_path, images=39).classes()) == 39
    assert sentence(serve(tmp_path)) == (
        f"flickr found 39 of the 40 images that {tmp_path / 'captions.txt'} names in {tmp_path / 'Images'} (003.jpg is "
        "missing); complete them, or pass -p dataset.images=39 for those."
    )
    with pytest.raises(DataError, match="39 of the 40"):
        serve(tmp_path).load("test")


def test_one_image_is_no_gallery(tmp_path):
    photos(tmp_path / "Images", ["a.jpg"])
    captions_txt(tmp_path, {"a.jpg": ["A dog ."]})
    assert sentence(serve(tmp_path)) == (
        f"flickr found 1 of the 1 images that {tmp_path / 'captions.txt'} names in {tmp_path / 'Images'}; complete "
        "them: it needs two."
    )


def test_no_image_at_all(tmp_path):
    captions_txt(tmp_path)
    assert sentence(serve(tmp_path)) == (
        f"flickr found none of the images that {tmp_path / 'captions.txt'} names, such as 1000092795.jpg, in "
        f"{tmp_path} or up to two folders deep in it; put the images' folder there."
    )


def test_names_that_lead_out_of_the_folder_are_no_images(tmp_path):
    photos(tmp_path / "data" / "Images", ["a.jpg", "b.jpg"])
    photos(tmp_path, ["secret.jpg"])
    captions_txt(tmp_path / "data", {"a.jpg": ["A"], "b.jpg": ["B"], "../../secret.jpg": ["C"]})
    assert serve(tmp_path / "data", images=2).classes() == ("A", "B")
    assert "2 of the 3" in sentence(serve(tmp_path / "data"))


def test_no_captions_names_the_files_that_are_read(tmp_path):
    photos(tmp_path / "Images")
    assert sentence(serve(tmp_path)) == (
        f"flickr found no captions in {tmp_path}; put one of these there, beside the images' folder: "
        "dataset_flickr30k.json, dataset_flickr8k.json, Flickr8k.token.txt, results_20130124.token, captions.txt, "
        "results.csv."
    )


def test_no_folder_and_one_that_is_not_there(tmp_path):
    assert sentence(Flickr()) == (
        "flickr needs the folder of Flickr8k or Flickr30k, which cannot be downloaded freely: pass -p dataset.path=DIR."
    )
    assert sentence(serve(tmp_path / "gone")).startswith(f"flickr found no folder at {tmp_path / 'gone'}; pass -p")


@pytest.mark.parametrize("split", ["train", "val"])
def test_there_is_nothing_to_train_on(split, tmp_path):
    flickr8k_kaggle(tmp_path)
    with pytest.raises(DataError) as raised:
        serve(tmp_path).load(split)
    assert str(raised.value) == (
        "flickr has no images to train on: each caption names one test image. Train on other photos (--dataset "
        "imagenet or imagefolder), and bring the weights: --defense none -p victim.checkpoint=DIR."
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("captions.txt", "", r"\(ValueError: no head 'image,caption' or "),
        ("captions.txt", "a.jpg,A dog .\n", r"\(ValueError: no head 'image,caption' or .*a.jpg, a dog"),
        ("captions.txt", b"\xff\xfe\x00", r"\(UnicodeDecodeError: "),
        ("captions.txt", "image,caption\na.jpg," + "x" * 200_000, r"\(Error: field larger than field limit"),
        ("results.csv", "image_name| number| text\n", r"\(ValueError: no head"),
        (
            "Flickr8k.token.txt",
            "a.jpg A dog .\n",
            r"\(ValueError: no line 'name.jpg#0<TAB>caption': 'a.jpg A dog \.'\)",
        ),
        ("dataset_flickr8k.json", "{", r"\(JSONDecodeError: "),
        ("dataset_flickr8k.json", "[" * 100_000, r"\(RecursionError: "),
        ("dataset_flickr8k.json", "[]", r"\(TypeError: "),
        ("dataset_flickr8k.json", "{}", r"\(KeyError: 'images'\)"),
        ("dataset_flickr8k.json", '{"images": [{"filename": "a.jpg"}]}', r"\(KeyError: 'split'\)"),
        ("dataset_flickr8k.json", '{"images": [5]}', r"\(TypeError: "),
    ],
)
def test_files_that_hold_no_captions(name, content, reason, tmp_path):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match="^flickr cannot read the captions in " + re.escape(str(path)) + " " + reason):
        serve(tmp_path).classes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.txt", "image,caption\n"),
        ("results_20130124.token", "\n"),
        ("dataset_flickr30k.json", '{"images": []}'),
        ("dataset_flickr30k.json", '{"images": [{"filename": "a.jpg", "split": "train", "sentences": []}]}'),
    ],
)
def test_files_without_a_test_image(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    assert sentence(serve(tmp_path)) == (
        f"flickr found no test image in {tmp_path / name}; download it again, or remove it to use another file."
    )


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    flickr8k_kaggle(tmp_path)
    (tmp_path / "Images" / NAMES[1]).write_bytes(b"no image")
    test = serve(tmp_path).load("test")
    assert torch.equal(test[:1].labels, torch.tensor([0]))
    with pytest.raises(DataError, match=rf"image \S+{NAMES[1]} cannot be decoded"):
        test.images()


def test_a_folder_that_cannot_be_looked_into(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError) as raised:
        find(tmp_path)
    assert str(raised.value) == (
        f"flickr cannot look into {tmp_path} (Permission denied); mend its permissions, or move it elsewhere."
    )
