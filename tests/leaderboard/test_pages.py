"""The three pages: one set of facts, the same bytes, checked against what was committed."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from robench.errors import StoreError
from robench.evidence.card import Card
from robench_leaderboard import boards, check_leaderboard, publish, render_pages, write_leaderboard
from robench_leaderboard.render.json_schema import SCHEMA_FILE, schema
from robench_leaderboard.render.page_limits import HTML, MARKDOWN, shorten

MakeCard = Callable[..., Card]
NAMES = ["LEADERBOARD.md", "index.html", "leaderboard.json"]
VOID = {"meta", "input", "br"}
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</summary></details></main>",
    "<!-- --><svg onload=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "javascript:alert(1)",
    "\u202eright to left\u2066",
    "\x1b]0;title\x07\x00",
    "&lt;b&gt; &amp;",
]


class Page(HTMLParser):
    """Collect tags, attributes and text, and complain about what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


def page_of(cards: list[Card]) -> Page:
    return Page(render_pages(cards)["index.html"])


def data_of(cards: list[Card]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render_pages(cards)["leaderboard.json"])
    return found


def hostile(make_card: MakeCard, text: str) -> Card:
    name = text[:190]
    return make_card(
        dataset=name,
        defense=name,
        victim=name,
        attack=name,
        attack_changed={name: text},
        surrogate=name,
        device=text,
        packages={name: text},
        verdict="SUSPECT",
        checks=[(name, "suspect", text)],
    )


# One set of facts


def test_the_pages_name_the_same_rows_in_the_same_order(zoo: list[Card]):
    pages = render_pages(zoo)
    titles = [row["title"] for board in data_of(zoo)["boards"] for row in board["rows"]]
    assert titles == [row.title for board in boards(zoo) for row in board.rows]
    tables = re.findall(r'<table class="ranking[ "].*?</table>', pages["index.html"], flags=re.DOTALL)
    assert re.findall(r'<th scope="row" role="rowheader">(?:<a [^>]*>)?([^<]+)', "".join(tables)) == titles
    for title in titles:
        assert title in pages["LEADERBOARD.md"].replace("\\", "")


def test_the_numbers_of_the_pages_are_those_of_the_data(zoo: list[Card]):
    pages, data = render_pages(zoo), data_of(zoo)
    text = Page(pages["index.html"]).text
    for board in data["boards"]:
        for row in board["rows"]:
            if row["robust"]:
                low, high = (100 * row["robust"][end] for end in ("low", "high"))
                shown = f"{100 * row['robust']['rate']:.1f} [{low:.1f}, {high:.1f}]"
                assert shown in pages["LEADERBOARD.md"]
                assert shown in text


def test_the_data_says_what_the_rows_say(make_card: MakeCard, make_cost: Callable[..., Any]):
    none = make_card([place < 20 for place in range(100)])
    tecoa = make_card(
        [place < 60 for place in range(100)],
        [place < 97 for place in range(100)],
        defense="tecoa",
        defense_changed={"epochs": 5},
        trainable=650,
        fit=make_cost(seconds=12.34567891),
        created="2027-01-01T00:00:00+00:00",
    )
    (board,) = data_of([none, tecoa])["boards"]
    assert (board["dataset"], board["norm"], board["eps"], board["shape"], board["n"]) == (
        "digits", "Linf", 8 / 255, [1, 8, 8], 100,
    )  # fmt: skip
    row, reference = board["rows"]
    assert (row["rank"], row["title"], row["seed"], row["verdict"]) == (1, "tecoa[epochs=5]", 0, "VALID")
    assert row["defense"]["parameters"] == {"epochs": 5}
    assert row["robust"] == {"rate": 0.6, "low": 0.502003, "high": 0.690599, "correct": 60, "n": 100}
    assert row["gain"]["points"] == 40
    assert (row["gain"]["only_first"], row["gain"]["only_second"]) == (40, 0)
    assert row["gain"]["p"] == pytest.approx(2 / 2**40, rel=1e-5)
    assert row["gain"]["low"] < 40 < row["gain"]["high"]
    assert row["tax"]["points"] == 3
    assert row["cost"]["fit_seconds"] == 12.3457
    assert row["cost"]["fit_joules"] is None
    assert row["attacks"][0]["card"] == tecoa.file_name
    assert (reference["gain"], reference["tax"], reference["rank"]) == (None, None, 2)


def test_several_seeds_are_on_every_page(make_card: MakeCard):
    draw = random.Random(1)
    cards = [make_card([draw.random() < 0.5 for _ in range(50)], defense="jpeg", seed=seed) for seed in (0, 1, 2)]
    pages, (board,) = render_pages(cards), data_of(cards)["boards"]
    (found,) = board["repeated"]
    assert (found["defense"], found["seeds"]) == ("jpeg", [0, 1, 2])
    robust = found["robust"]
    shown = f"{100 * robust['mean']:.1f} (sd {100 * robust['deviation']:.1f}) [{100 * robust['low']:.1f}, "
    assert shown in pages["LEADERBOARD.md"]
    assert shown in Page(pages["index.html"]).text


def test_energy_is_shown_where_it_was_measured(make_card: MakeCard, make_cost: Callable[..., Any]):
    import msgspec

    joules = msgspec.structs.replace(make_cost(), joules=1234.0)
    assert "fit J" not in render_pages([make_card()])["LEADERBOARD.md"]
    pages = render_pages([make_card(fit=joules, craft=joules)])
    assert "fit J" in pages["LEADERBOARD.md"]
    assert "1,234" in pages["LEADERBOARD.md"]
    assert "1,234" in Page(pages["index.html"]).text
    assert data_of([make_card(fit=joules, craft=joules)])["boards"][0]["rows"][0]["cost"]["craft_joules"] == 123.4


def test_no_cards_are_three_pages_too():
    pages = render_pages([])
    assert "There are no cards yet." in pages["LEADERBOARD.md"]
    assert "There are no cards yet." in Page(pages["index.html"]).text
    assert json.loads(pages["leaderboard.json"]) == {"schema_version": 1, "require": "reported", "boards": []}


# The schema


def test_the_committed_schema_is_generated_from_the_classes():
    assert json.loads(SCHEMA_FILE.read_text()) == schema()
    Draft202012Validator.check_schema(schema())


def test_the_data_follows_its_schema(zoo: list[Card], make_card: MakeCard):
    validator = Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
    for cards in ([], zoo, [make_card(seed=seed) for seed in (0, 1)], [hostile(make_card, text) for text in HOSTILE]):
        assert list(validator.iter_errors(data_of(cards))) == []
    broken = data_of(zoo)
    broken["boards"][0]["rows"][0]["robust"]["rate"] = 1.5
    assert len(list(validator.iter_errors(broken))) == 1


# The HTML


def test_the_page_is_self_contained_and_allows_its_own_script_only(zoo: list[Card]):
    page = page_of(zoo)
    assert page.tags["script"] == page.tags["style"] == 1
    assert page.tags["link"] == page.tags["img"] == page.tags["iframe"] == 0
    assert {name for name, _ in page.attributes if name.startswith("on") or name == "src"} == set()
    addresses = {value for name, value in page.attributes if name == "href"}
    assert all(value.startswith("#") or value == "leaderboard.json" for value in addresses)
    (policy,) = [value for name, value in page.attributes if name == "content" and "default-src" in value]
    assert policy.startswith("default-src 'none';")
    assert "unsafe-inline'; script-src 'sha256-" in policy


def test_the_policy_names_the_script_that_is_there(zoo: list[Card]):
    import base64
    import hashlib

    text = render_pages(zoo)["index.html"]
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in text or f"script-src 'sha256-{digest}'" in text


def test_every_link_inside_the_page_leads_somewhere(zoo: list[Card]):
    page = page_of(zoo)
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for name, value in page.attributes if name == "href" and value.startswith("#")} <= set(ids)


def test_every_table_has_as_many_cells_as_its_head(zoo: list[Card]):
    for table in re.findall(r"<table.*?</table>", render_pages(zoo)["index.html"], flags=re.DOTALL):
        widths = {len(re.findall(r"<t[hd]\b", row)) for row in re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)}
        assert len(widths) == 1


def test_the_page_says_what_it_is_and_what_is_on_it(zoo: list[Card]):
    text, found = render_pages(zoo)["index.html"], boards(zoo)
    assert "<title>Adversarial robustness: " in text
    assert "<h1>Adversarial robustness leaderboard</h1>" in text
    for number, board in enumerate(found, start=1):
        assert f'<li><a href="#b{number}">' in text
        assert text.count(f"n = {board.setting.n:,}") >= 2  # in the contents, and in the heading
    assert text.count('<li><a href="#b') == len(found)
    contents = render_pages(zoo)["LEADERBOARD.md"].partition("Contents:")[2].partition("## ")[0]
    assert contents.count("](#ranking-") == contents.count("\n- [") - 1 - contents.count("](#datasets-")


def test_protocol_and_n_are_in_every_heading(make_card: MakeCard):
    pages = render_pages([make_card(protocol="tecoa-16, changed: n")])
    wanted = "digits: Linf 8/255, 1x8x8, n = 8, protocol tecoa-16, changed: n"
    assert f"<h2>{wanted}</h2>" in pages["index.html"]
    assert f"\n## {wanted}\n" in pages["LEADERBOARD.md"]


def test_clean_against_robust_is_drawn_where_there_is_something_to_compare(make_card: MakeCard):
    none, tecoa = make_card([True] * 2 + [False] * 8), make_card([True] * 6 + [False] * 4, defense="tecoa")
    page = page_of([none, tecoa])
    assert page.tags["svg"] == 1 + 2  # the drawing, and the keys of its legend
    assert "Clean against robust: digits: Linf 8/255" in page.text
    assert page_of([none]).tags["svg"] == 0


def test_cards_are_linked_where_they_lie_below_the_page(zoo: list[Card], tmp_path: Path):
    folder = tmp_path / "my cards"
    folder.mkdir()
    for card in zoo[1:]:
        (folder / card.file_name).write_text("{}")
    write_leaderboard(zoo, tmp_path, places=[folder])
    for name in ("LEADERBOARD.md", "index.html"):
        text = (tmp_path / name).read_text()
        assert f"my%20cards/{zoo[1].file_name}" in text
        assert f"my%20cards/{zoo[0].file_name}" not in text  # its file is not there
    assert check_leaderboard(zoo, tmp_path, places=[folder]) == ""
    assert "my%20cards" not in "".join(render_pages(zoo).values())
    write_leaderboard(zoo, tmp_path / "elsewhere", places=[folder])
    assert "my%20cards" not in (tmp_path / "elsewhere" / "index.html").read_text()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(make_card: MakeCard, text: str):
    page = page_of([make_card(), hostile(make_card, text)])
    harmless = page_of([make_card(), hostile(make_card, "zz")])
    assert page.tags == harmless.tags
    assert Counter(name for name, _ in page.attributes) == Counter(name for name, _ in harmless.attributes)
    assert not set(page.text) & set("\u202e\u2066\x1b\x07\x00")
    render_pages([hostile(make_card, text)])["leaderboard.json"].encode()


def test_ten_megabytes_of_text_are_cut_on_every_page(make_card: MakeCard):
    card = make_card(device="x" * 10_000_000, checks=[("c", "suspect", "y" * 10_000_000)], verdict="SUSPECT")
    assert all(len(content) < 60_000 for content in render_pages([card]).values())


# Files


def test_write_is_idempotent_and_leaves_unchanged_files_alone(zoo: list[Card], tmp_path: Path):
    path = write_leaderboard(zoo, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "LEADERBOARD.md"
    files = [path.parent / name for name in NAMES]
    assert {file.name: file.read_bytes() for file in files} == {
        name: content.encode() for name, content in render_pages(zoo).items()
    }
    before = [(file.stat().st_mtime_ns, file.stat().st_ino) for file in files]
    assert write_leaderboard(zoo[::-1], path.parent) == path
    assert [(file.stat().st_mtime_ns, file.stat().st_ino) for file in files] == before
    write_leaderboard(zoo[:1], path.parent, places=[path.parent / "cards"])  # its own cards, which it follows
    assert path.read_text() == render_pages(zoo[:1])["LEADERBOARD.md"]
    assert sorted(file.name for file in path.parent.iterdir()) == NAMES


def test_the_same_cards_give_the_same_bytes(zoo: list[Card]):
    pages = render_pages(zoo)
    for seed in range(10):
        assert render_pages(random.Random(seed).sample(zoo, len(zoo))) == pages
    assert render_pages(zoo + zoo[:3]) == pages
    assert publish(zoo) == publish(zoo[::-1])


def test_a_folder_that_cannot_be_written_is_named(zoo: list[Card], tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"LEADERBOARD\.md cannot be written \(.*\); choose another folder"):
        write_leaderboard(zoo, tmp_path / "file")


def test_check_is_empty_for_the_pages_that_the_cards_give(zoo: list[Card], tmp_path: Path):
    write_leaderboard(zoo, tmp_path)
    assert check_leaderboard(zoo[::-1], tmp_path) == ""
    for name in NAMES:
        file = tmp_path / name
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert check_leaderboard(zoo, tmp_path) == ""


@pytest.mark.parametrize("name", NAMES)
def test_check_shows_what_was_edited(zoo: list[Card], tmp_path: Path, name: str):
    write_leaderboard(zoo, tmp_path)
    file = tmp_path / name
    file.write_text(file.read_text().replace("tecoa", "takoa", 1))
    lines = check_leaderboard(zoo, tmp_path).splitlines()
    assert lines[0].endswith(f"{name} (committed)")
    removed, added = [line for line in lines[2:] if line[0] in "+-"]
    assert removed.replace("takoa", "tecoa", 1)[1:] == added[1:]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edit", [lambda text: text + b"\n", lambda text: text[:-1], lambda text: b"\xff" + text])
def test_check_sees_the_smallest_edit(zoo: list[Card], tmp_path: Path, name: str, edit: Callable[[bytes], bytes]):
    write_leaderboard(zoo, tmp_path)
    file = tmp_path / name
    file.write_bytes(edit(file.read_bytes()))
    assert check_leaderboard(zoo, tmp_path)


def test_check_of_a_missing_page_is_the_whole_page_up_to_a_length(zoo: list[Card], tmp_path: Path):
    difference = check_leaderboard(zoo, tmp_path)
    assert "+# Adversarial robustness leaderboard" in difference
    assert re.search(r"\.\.\. and [\d,]+ more lines", difference)
    assert len(difference.splitlines()) <= 3 * 401


def test_check_of_a_page_that_is_a_folder_is_an_error(zoo: list[Card], tmp_path: Path):
    (tmp_path / "index.html").mkdir()
    with pytest.raises(StoreError, match=r"index\.html cannot be read"):
        check_leaderboard(zoo, tmp_path)


# Many cards


@pytest.fixture(scope="module")
def many(make_card: MakeCard) -> list[Card]:
    draw = random.Random(3)
    return [
        make_card([draw.random() < 0.5 for _ in range(24)], defense=f"d{place}", eps=eps / 255)
        for place in range(150)
        for eps in (2, 4, 8)
    ]


def test_long_tables_are_folded_and_details_are_few(many: list[Card]):
    page = render_pages(many)["LEADERBOARD.md"]
    assert page.count("<summary>125 more rows</summary>") == 3
    assert page.count("Victim: mlp: no parameters") == 3 * (MARKDOWN.details // 3)
    assert page.count("<details>") == page.count("</details>")


def test_what_is_left_out_is_counted_and_in_the_data(many: list[Card]):
    (first, *_) = shorten(boards(many), MARKDOWN.__class__(boards=2, visible=3, rows=20, details=4))
    assert (len(first.visible), len(first.folded), first.left_out, len(first.detailed)) == (3, 7, 140, 2)
    assert sum(len(board["rows"]) for board in data_of(many)["boards"]) == 450


def test_more_boards_than_a_page_takes_are_counted(make_card: MakeCard):
    cards = [make_card(eps=level / 255 / 100) for level in range(1, MARKDOWN.boards + 4)]
    pages = render_pages(cards)
    assert "3 more rankings are in index.html and leaderboard.json." in pages["LEADERBOARD.md"]
    assert pages["LEADERBOARD.md"].count("\n## ") == MARKDOWN.boards + 1
    assert page_of(cards).tags["table"] == 3 * len(cards)
    assert HTML.boards > len(cards)
    assert Page(pages["index.html"]).attributes.count(("open", "")) == 12
