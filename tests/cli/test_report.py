"""robench report, as a user runs it on a real run."""

from __future__ import annotations

import json
import re
import shlex
from html import unescape

import pytest

from robench.evidence.card_file import read
from robench.evidence.gallery import gallery_name, read_gallery


def test_a_run_keeps_pictures_of_every_cell(real_run):
    for path in real_run.cards:
        card = read(path)
        pictures = read_gallery(real_run.out / "gallery" / gallery_name(card), card).pictures
        assert len(pictures) == 6
        bits = card.clean.mask(), card.robust.mask()
        for picture in pictures:
            assert (picture.predictions[0] == picture.label) is bits[0][picture.index]
            assert (picture.predictions[1] == picture.label) is bits[1][picture.index]
            assert abs(picture.adversarial - picture.clean).max() <= card.cell.threat.eps + 1e-6


def test_no_gallery_keeps_none(robench, copied_run, tmp_path):
    done = robench(*copied_run.words[:-2], "--out", tmp_path / "plain", "--no-gallery")
    assert done.code == 0
    assert not (tmp_path / "plain" / "gallery").exists()
    done = robench("report", tmp_path / "plain")
    assert done.code == 0
    assert "These results came without pictures" in (tmp_path / "report.html").read_text()


def test_a_report_with_figures_and_tables(robench, real_run, tmp_path):
    done = robench("report", real_run.out, "-o", "page.html", "--figures", "figures", "--tables", "tables")
    assert done.code == 0
    assert done.out.splitlines()[0] == "report: page.html"
    assert done.out.count("files in") == 2
    assert (tmp_path / "tables" / "rows.csv").is_file()
    assert list((tmp_path / "figures").glob("clean-robust-1-*.svg"))
    page = (tmp_path / "page.html").read_text()
    assert page.count('<details class="gallery"') == 4
    robench("report", real_run.out, "-o", "again.html")
    assert (tmp_path / "again.html").read_text() == page


def test_the_command_on_the_page_asks_for_the_same_cell(robench, real_run, tmp_path):
    """Planned again, each command has the card's own fingerprint among its cells."""
    from robench.cli.run import requests, run_command
    from robench.plan.spec import plan

    robench("report", real_run.out)
    page = (tmp_path / "report.html").read_text()
    commands = [shlex.split(unescape(text)) for text in re.findall(r"<pre[^>]*><code>(.*?)</code>", page, re.DOTALL)]
    assert len(commands) == len(real_run.cards)
    planned = set()
    for words in commands:
        assert words[:2] == ["robench", "run"]
        context = run_command.make_context("run", words[2:])
        suite = context.params.pop("suite")
        specs = requests(suite, context.params).runs
        planned.add(frozenset(cell.score_id for spec in specs for cell in plan(spec)))
    ids = {read(path).id for path in real_run.cards}
    assert {next(iter(ids & cells)) for cells in planned if ids & cells} <= ids
    assert ids <= frozenset().union(*planned)


def test_it_imports_no_torch(modules, real_run, tmp_path):
    found = modules("report", real_run.out, "-o", tmp_path / "page.html")
    assert not found & {"torch", "transformers", "sklearn", "matplotlib"}


def test_figures_without_matplotlib_are_a_sentence(robench, real_run, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('no matplotlib here')")
    import os

    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    done = robench("report", real_run.out, "--figures", "figures", PYTHONPATH=path)
    assert done.code == 2
    assert done.err.strip() == (
        "robench: Figure files need matplotlib, which is not installed; run: pip install 'robench[figures]'."
    )
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("gone",), "card gone cannot be read (No such file or directory); name the JSON file that robench run wrote."),
        ((".",), "There are no cards in .; name a folder that robench run wrote (--out), or card files."),
        (("notes.json",), "notes.json does not follow card schema"),
    ],
)
def test_bad_input_is_a_sentence(robench, tmp_path, words, reason):
    (tmp_path / "notes.json").write_text("{}")
    if words == (".",):
        (tmp_path / "notes.json").unlink()
    done = robench("report", *words)
    assert done.code == 2
    assert reason in done.said
    assert not (tmp_path / "report.html").exists()


def test_a_page_that_cannot_be_written(robench, real_run, tmp_path):
    (tmp_path / "file").write_text("")
    done = robench("report", real_run.out, "-o", "file/page.html")
    assert done.code == 2
    assert "file cannot be written (File exists); choose another folder with --out." in done.said


def test_a_strangers_gallery_is_a_sentence(robench, copied_run):
    card = read(copied_run.cards[0])
    path = copied_run.out / "gallery" / gallery_name(card)
    path.write_bytes(b"\x80\x04cos\nsystem\n" + json.dumps([1]).encode())
    done = robench("report", copied_run.out)
    assert done.code == 2
    assert f"gallery {path} is not what robench writes" in done.said
    assert "remove it to go without its pictures." in done.said
