"""index.html as people use it: sorted, filtered, linked to, on a phone, in the dark, and without scripts."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "leaderboard" / "index.html"
SHOWN = (
    "return [...document.querySelectorAll(arguments[0])].filter(one => one.checkVisibility()).map(one => one.innerText)"
)
NAMES = ".board:first-of-type table.ranking tbody th"


def names(browser) -> list[str]:
    return [text.strip() for text in browser.run(SHOWN, NAMES)]


def press_head(browser, heading: str) -> str:
    """Press the heading's button in the first ranking with the keyboard; return its aria-sort."""
    browser.run(
        "[...document.querySelectorAll('.board table.ranking')][0].querySelectorAll('th button')"
        ".forEach(one => { if (one.innerText === arguments[0]) one.focus() })",
        heading,
    )
    browser.press("\ue007")
    return browser.run("return document.activeElement.closest('th').getAttribute('aria-sort')")


def test_nothing_is_fetched_and_nothing_complains(browser):
    browser.show(PAGE)
    assert browser.complaints() == []
    assert [address for address in browser.requests() if not address.startswith(PAGE.as_uri())] == []


def test_a_head_sorts_by_number_and_says_so(browser):
    browser.show(PAGE)
    assert names(browser) == ["tecoa", "vpt", "none", "lora-ce"]
    assert press_head(browser, "clean") == "descending"
    assert names(browser) == ["vpt", "none", "tecoa", "lora-ce"]
    assert press_head(browser, "clean") == "ascending"
    assert names(browser) == ["lora-ce", "tecoa", "none", "vpt"]
    # The reference has no gain of its own: it stays last whichever way.
    assert press_head(browser, "gain") == "descending"
    assert names(browser) == ["tecoa", "vpt", "lora-ce", "none"]
    assert press_head(browser, "gain") == "ascending"
    assert names(browser) == ["lora-ce", "vpt", "tecoa", "none"]
    assert press_head(browser, "defense") == "ascending"
    assert names(browser) == ["lora-ce", "none", "tecoa", "vpt"]


def test_the_filter_leaves_what_matches_and_counts_it(browser):
    browser.show(PAGE)
    browser.find("#filter").send_keys("8/255 TECOA")
    assert [text.strip() for text in browser.run(SHOWN, "table.ranking tbody th")] == ["tecoa"]
    assert browser.find("#found").text == "1 of 12 rows"
    for _ in range(11):
        browser.press("\ue003")
    assert len(browser.run(SHOWN, "table.ranking tbody th")) == 12


def test_a_link_unfolds_the_row_it_leads_to(browser):
    browser.show(PAGE)
    browser.find(".board table.ranking tbody a").click()
    browser.wait_until("return document.querySelector('#r1-1').open")
    assert browser.find("#r1-1 summary").text == "tecoa on tiny-clip, rank 1"


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_page_itself_never_scrolls_sideways(browser, width):
    browser.show(PAGE, width=width)
    browser.open_all()
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_on_a_phone_each_row_is_a_card_and_still_a_row(browser):
    browser.show(PAGE, width=390)
    row = browser.find(".board table.ranking tbody tr")
    assert browser.run("return getComputedStyle(arguments[0]).display", row) == "grid"
    assert browser.run("return getComputedStyle(arguments[0].cells[2], '::before').content", row) == '"robust"'
    roles = browser.run("return [arguments[0], arguments[0].cells[1]].map(one => one.getAttribute('role'))", row)
    assert roles == [
        "row", "rowheader",
    ]  # fmt: skip


OVERFLOWING = (
    "return [...document.querySelectorAll('.scroll')]"
    ".map(one => [one.classList.contains('overflows'), one.scrollWidth > one.clientWidth + 1])"
)


def test_a_table_that_scrolls_says_so_and_others_do_not(browser):
    browser.show(PAGE)
    browser.open_all()
    found = next(found for found in (browser.run(OVERFLOWING) for _ in range(50)) if any(told for told, _ in found))
    assert all(told == scrolls for told, scrolls in found)
    assert not found[0][0]  # the ranking itself fits at 1280 pixels


def test_the_rows_that_are_shown_are_saved_as_csv(browser):
    browser.show(PAGE)
    browser.find("#filter").send_keys("8/255 tecoa")
    browser.run("HTMLAnchorElement.prototype.click = function () { window.saved = this.download }")
    browser.run("URL.createObjectURL = blob => { window.blob = blob; return 'blob:' }")
    browser.find("#csv").click()
    assert browser.run("return saved") == "leaderboard.csv"
    (line,) = csv.DictReader(io.StringIO(browser.run("return blob.text()")))
    assert line["ranking"] == "digits: Linf 8/255, 3x32x32, n = 500"
    assert (line["rank"], line["defense"], line["verdict"]) == ("1", "tecoa", "VALID")
    assert float(line["robust low"]) < float(line["robust"]) < float(line["robust high"])


def test_without_scripts_all_is_there_but_the_filter(browser):
    browser.show(PAGE, scripts=False)
    text = browser.find("body").text
    board = json.loads((PAGE.parent / "leaderboard.json").read_text())["boards"][0]
    for row in board["rows"]:
        robust = {name: f"{100 * row['robust'][name]:.1f}" for name in ("rate", "low", "high")}
        assert "{rate}\n[{low}, {high}]".format(**robust) in text
    assert "Filter rows" not in text


def test_light_and_dark_follow_the_system(browser):
    colours = []
    for scheme in ("light", "dark"):
        browser.show(PAGE, scheme=scheme)
        colours.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(246, 247, 249)", "rgb(15, 20, 27)"]
