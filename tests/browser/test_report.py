"""The report as people use it: with a mouse, a keyboard, a screen reader, a phone, on paper, and without scripts."""

from __future__ import annotations

import base64
import json
import shutil

import pytest

from robench.evidence.card_file import read
from robench.evidence.gallery import gallery_name

CONTRAST = """
const parse = text => text.match(/[\\d.]+/g).map(Number);
const linear = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = c => .2126 * linear(c[0]) + .7152 * linear(c[1]) + .0722 * linear(c[2]);
function behind(one) {
  for (; one; one = one.parentElement) {
    const found = getComputedStyle(one).backgroundColor;
    if (found.startsWith("rgb(")) return parse(found);
  }
}
return [...document.querySelectorAll(arguments[0])].filter(one => one.checkVisibility()).map(one => {
  const [a, b] = [light(parse(getComputedStyle(one)[arguments[1]])), light(behind(one))];
  return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), one.outerHTML.slice(0, 120)];
}).sort((a, b) => a[0] - b[0])[0];
"""


@pytest.fixture(params=["run", "cards"])
def page(request, run_page, cards_page):
    return {"run": run_page, "cards": cards_page}[request.param]


def column(browser, heading):
    """Return the texts of one column of the visible rows, from the top."""
    heads = browser.run("return [...document.querySelectorAll('#table thead th')].map(one => one.innerText.trim())")
    place = heads.index(heading)
    return browser.run(
        "return [...document.querySelectorAll('#table tbody tr:not([hidden])')]"
        ".map(row => row.cells[arguments[0]].innerText.trim())",
        place,
    )


def head(browser, heading):
    return browser.run(
        "return [...document.querySelectorAll('#table thead th')].find(one => one.innerText.trim() === arguments[0])",
        heading,
    )


def click(browser, heading):
    browser.run("arguments[0].querySelector('button').click()", head(browser, heading))


# Nothing from outside


def test_it_reaches_for_nothing_and_complains_of_nothing(browser, page):
    browser.show(page)
    browser.open_all()
    asked = browser.requests()
    assert page.as_uri() in asked
    assert [url[:60] for url in asked if not url.startswith(("data:", page.as_uri()))] == []
    assert browser.complaints() == []


def test_every_picture_is_there(browser, run_page):
    browser.show(run_page).open_all()
    sizes = browser.driver.execute_async_script(
        "const done = arguments[0], all = [...document.images];"
        "Promise.all(all.map(one => one.decode())).then(() => done(all.map(one => one.naturalWidth)), done)"
    )
    # 16 cells of 6 images, five pictures each.
    assert sizes[: 16 * 6 * 5] == [32] * (16 * 6 * 5)
    # Then three of each defended victim's patches, whatever it was attacked with: the undefended one's, and tecoa's.
    assert len(sizes) == 16 * 6 * 5 + 2 * 3
    cut, filters, tokens = (sizes[16 * 6 * 5 + picture :: 3] for picture in range(3))
    assert all(200 < size <= 420 for size in cut + filters)
    assert tokens == [17 * 6] * 2  # six pixels a token


def test_patches_say_what_they_are(browser, run_page):
    browser.show(run_page)
    texts = browser.run("return [...document.querySelectorAll('.cut img')].map(one => one.alt)")
    assert len(texts) == 6
    for image, filters, tokens in zip(texts[::3], texts[1::3], texts[2::3], strict=True):
        assert " as tiny-clip" in image
        assert "cuts it: " in image
        assert "leading principal components of its embedding filters" in filters
        assert "Heat map of 17 tokens (1 beside the patches) of 64 values" in tokens
    assert browser.run("return document.querySelector('#patches').innerText") == "Patches"


# The table


def test_sorting_by_robustness_and_back(browser, cards_page):
    browser.show(cards_page)
    rates = [float(text.split()[0]) for text in column(browser, "robust %")]
    click(browser, "robust %")
    assert head(browser, "robust %").get_attribute("aria-sort") == "descending"
    assert [float(text.split()[0]) for text in column(browser, "robust %")] == sorted(rates, reverse=True)
    click(browser, "robust %")
    assert head(browser, "robust %").get_attribute("aria-sort") == "ascending"
    assert [float(text.split()[0]) for text in column(browser, "robust %")] == sorted(rates)
    click(browser, "defense")
    assert head(browser, "robust %").get_attribute("aria-sort") is None
    assert column(browser, "defense") == sorted(column(browser, "defense"))


def test_what_is_missing_stays_last(browser, cards_page):
    browser.show(cards_page)
    for order in ("descending", "ascending"):
        click(browser, "transfer %")
        assert head(browser, "transfer %").get_attribute("aria-sort") == order
        assert column(browser, "transfer %")[-4:] == ["-"] * 4


def test_radii_are_sorted_by_size(browser, cards_page):
    browser.show(cards_page)
    click(browser, "attacker")
    found = column(browser, "attacker")
    order = ["Linf 0.5/255", "Linf 1/255", "Linf 2/255", "Linf 4/255", "Linf 8/255"]
    assert list(dict.fromkeys(found)) == order


def test_finding_by_words(browser, cards_page):
    browser.show(cards_page)
    browser.find("#find").send_keys("TECOA 8/255")
    assert column(browser, "defense") == ["tecoa"]
    assert browser.find("#count").text == "1 of 12 rows"
    browser.find("#find").clear()
    browser.find("#find").send_keys("nothing like it")
    assert column(browser, "defense") == []
    assert browser.find("#count").text == "0 of 12 rows"


def test_choosing_a_victim(browser, cards_page):
    browser.show(cards_page)
    browser.run(
        "const one = [...document.querySelectorAll('#filters select')].find(s => s.innerText.includes('resnet20'));"
        "one.value = 'resnet20'; one.dispatchEvent(new Event('change'))"
    )
    assert column(browser, "victim") == ["resnet20"] * 4
    click(browser, "robust %")
    assert len(column(browser, "victim")) == 4


def test_a_row_leads_to_its_card(browser, run_page):
    browser.show(run_page)
    link = browser.find("#table tbody a")
    target = link.get_attribute("href").rpartition("#")[2]
    link.click()
    browser.wait_until("return document.getElementById(arguments[0]).open", target)
    assert "box and ball" in browser.find(f"#{target}").text


# Light and dark


def test_the_theme_follows_the_system_until_it_is_chosen(browser, run_page):
    def ground():
        return browser.run("return getComputedStyle(document.body).backgroundColor")

    browser.show(run_page, scheme="light")
    light = ground()
    assert browser.find("#theme").get_attribute("aria-pressed") == "false"
    browser.show(run_page, scheme="dark")
    dark = ground()
    assert browser.find("#theme").get_attribute("aria-pressed") == "true"
    assert light != dark
    browser.find("#theme").click()
    assert ground() == light
    browser.reload()
    assert ground() == light
    assert browser.find("#theme").get_attribute("aria-pressed") == "false"
    browser.run("localStorage.clear()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("selector", "colour"),
    [
        ("p, li, td, th, dt, dd, summary, figcaption, label, button", "color"),
        (".quiet, .badge, .status, .answer, .what, a, code", "color"),
        ("svg text", "fill"),
    ],
)
def test_text_can_be_read(browser, run_page, scheme, selector, colour):
    browser.show(run_page, scheme=scheme).open_all()
    least, where = browser.run(CONTRAST, selector, colour)
    assert least >= 4.5, where


# Keyboard and screen reader


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser, run_page):
    from selenium.webdriver.common.keys import Keys

    browser.show(run_page)
    browser.press(Keys.TAB)
    assert browser.run("return document.activeElement.className") == "skip"
    seen = []
    for _ in range(60):
        browser.press(Keys.TAB)
        name, outline = browser.run(
            "const one = document.activeElement, style = getComputedStyle(one);"
            "return [one.id || one.innerText.trim().split('\\n')[0] || one.tagName,"
            " style.outlineStyle + style.outlineWidth]"
        )
        seen.append(name)
        assert outline == "solid3px", name
    for name in ("theme", "find", "rank", "robust %", "Data"):
        assert name in seen


def test_sorting_and_opening_by_keyboard(browser, run_page):
    from selenium.webdriver.common.keys import Keys

    browser.show(run_page)
    browser.run("arguments[0].querySelector('button').focus()", head(browser, "clean %"))
    browser.press(Keys.ENTER)
    assert head(browser, "clean %").get_attribute("aria-sort") == "descending"
    browser.press(Keys.SPACE)
    assert head(browser, "clean %").get_attribute("aria-sort") == "ascending"
    browser.run("document.querySelector('.card summary').focus()")
    browser.press(Keys.ENTER)
    assert browser.run("return document.querySelector('.card').open")
    browser.run("document.querySelector('#cost-1').focus()")
    browser.press(Keys.ARROW_RIGHT)
    shown = browser.run(
        "return [1, 2, 3, 4].map(n => getComputedStyle(document.querySelector('.cost-' + n)).display !== 'none')"
    )
    assert shown == [False, True, False, False]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_screen_reader_is_told_names_and_tables(browser, run_page, width):
    browser.show(run_page, width=width).open_all()
    browser.run("document.querySelector('#table thead button').click()")
    nodes = browser.command("Accessibility.getFullAXTree")["nodes"]
    told = [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node.get("ignored") and "role" in node
    ]
    named = {"button", "image", "img", "link", "combobox", "searchbox", "radio", "region", "navigation", "search"}
    assert [entry for entry in told if entry[0] in named and not entry[1]] == []
    assert {"main", "banner", "contentinfo", "navigation", "table", "row", "rowheader", "columnheader"} <= {
        role for role, _ in told
    }
    cells = sum(role in ("cell", "gridcell") for role, _ in told)
    assert cells > 4 * 10
    charts = [name for role, name in told if role in ("image", "img") and ": " in name]
    assert "Clean against robust: digits, Linf 8/255, 3x32x32, n = 40" in charts
    assert browser.run("return document.querySelector('#table [aria-sort]').getAttribute('aria-sort')") == "ascending"


def test_every_chart_has_its_numbers_in_a_table(browser, page):
    browser.show(page).open_all()
    counts = browser.run(
        "return [...document.querySelectorAll('.chart')].map(one => [one.querySelectorAll('svg[role] circle').length,"
        " one.querySelectorAll('tbody tr').length, one.querySelectorAll('svg[role] > title, svg[role] > desc').length])"
    )
    assert len(counts) >= 10
    assert all(marks == rows > 0 and told == 2 for marks, rows, told in counts)


def test_ids_are_unique_and_links_lead_somewhere(browser, page):
    browser.show(page)
    twice, lost = browser.run(
        "const ids = [...document.querySelectorAll('[id]')].map(one => one.id);"
        "return [ids.filter((id, place) => ids.indexOf(id) !== place),"
        " [...document.querySelectorAll('a')].filter(one => !document.getElementById(one.hash.slice(1))).length]"
    )
    assert (twice, lost) == ([], 0)


# Small screens, paper, no scripts

WIDER = (
    "return [...document.querySelectorAll('#results .scroll, #datasets .scroll, #published .scroll')]"
    ".filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.className)"
)


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_laptop_no_table_is_wider_than_the_page(browser, page, scheme, scripts):
    browser.show(page, width=1280, scheme=scheme, scripts=scripts)
    assert browser.run(WIDER) == []
    cut = (
        "return [...document.querySelectorAll('#table td')].filter(one => one.scrollWidth > one.clientWidth + 1).length"
    )
    assert browser.run(cut) == 0


def test_costs_are_shown_when_they_are_asked_for(browser, cards_page):
    browser.show(cards_page, width=1280)
    shown = "return [...document.querySelectorAll('#table thead th')].filter(one => one.offsetWidth)" \
        ".map(one => one.innerText.trim())"  # fmt: skip
    costs = {"trainable", "fit s", "passes", "craft ms", "score ms"}
    assert not costs & {*browser.run(shown)}
    browser.find("#costs").click()
    assert costs <= {*browser.run(shown)}
    boxes = "[...document.querySelectorAll('#results .scroll')].map(one => one.classList.contains('overflows'))"
    told = f"return new Promise(done => requestAnimationFrame(() => setTimeout(() => done({boxes}), 50)))"
    assert browser.run(told) == [bool(browser.run(WIDER))]
    # On a phone, where each row is a block of its own, all of them are there.
    browser.show(cards_page, width=390)
    assert browser.run("return document.querySelector('#table td.folded').offsetHeight") > 0


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_screen_scrolls_one_way_only(browser, page, width):
    browser.show(page, width=width).open_all()
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return document.querySelector('#table tbody tr').getBoundingClientRect().right") <= (
        width if width < 640 else 10_000
    )


def test_a_phone_can_sort_and_filter_too(browser, cards_page):
    browser.show(cards_page, width=390)
    click(browser, "robust %")
    assert browser.find("#table tbody tr th").text == "tecoa"
    browser.find("#find").send_keys("lora-ce")
    shown = browser.run(
        "return [...document.querySelectorAll('#table tbody tr')].filter(r => r.checkVisibility()).length"
    )
    assert shown == 2


def test_on_paper_there_are_no_controls(browser, run_page):
    browser.show(run_page, scheme="dark", media="print")
    shown = browser.run(
        "return ['nav', '#theme', '#filters', '#table', '.chart', 'h1']"
        ".map(one => document.querySelector(one).checkVisibility())"
    )
    assert shown == [False, False, False, True, True, True]
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    paper = base64.b64decode(browser.command("Page.printToPDF", printBackground=True)["data"])
    assert paper.startswith(b"%PDF")


def test_without_scripts_everything_is_there_but_the_controls(browser, run_page):
    browser.show(run_page, scripts=False)
    try:
        nodes = browser.command("Accessibility.getFullAXTree")["nodes"]
        told = [node.get("name", {}).get("value", "") for node in nodes if not node.get("ignored")]
        roles = [node["role"]["value"] for node in nodes if not node.get("ignored")]
        assert "Adversarial robustness of tiny-clip on digits" in told
        assert roles.count("rowheader") >= 4
        assert not {"searchbox", "button"} & set(roles)
        assert any(text.startswith("Clean against robust") for text in told)
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", value=False)


# Hostile cards


EVIL = (
    "<script>window.owned = 1</script>",
    "<img src=x onerror='window.owned = 2'>",
    '"><svg onload="window.owned = 3">',
    "</style></title></script><b id=owned>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:window.owned=4",
    "\u202egnp.exe\x1b[31m",
)


def poisoned(card: dict, evil: str) -> dict:
    """Return the card with hostile text wherever a card has free text; one of schema 2, whose id hashes no names."""
    cell = card["cell"]
    card["schema_version"] = 2
    cell["stages"] = {}
    for role in ("dataset", "victim", "defense", "attack"):
        cell[role]["name"] = f"{evil} {role}"[:190]
        cell[role]["plugin"] = evil
        cell[role]["parameters"] = cell[role]["changed"] = {evil: evil}
    if cell["surrogate"]:
        cell["surrogate"] = cell["victim"]
    cell["given"] = {"n": evil}
    card["data"]["classes"] = [f"{evil} {place}" for place in range(10)]
    card["training"]["history"] = [{evil: 1.0, "epoch": 1.0}, {evil: 2.0, "epoch": 2.0}]
    for check in card["gate"]["checks"]:
        check.update(name=evil[:190], threshold=evil, meaning=evil, status="suspect")
    card["environment"].update(platform=evil, python=evil, device=evil, revision=evil, packages={evil: evil})
    card["created"] = evil
    return card


def test_hostile_text_is_inert(browser, robench, small_run, tmp_path):
    (tmp_path / "cards").mkdir()
    (tmp_path / "gallery").mkdir()
    for place, path in enumerate(sorted((small_run / "cards").glob("*.json"))):
        target = tmp_path / "cards" / f"{place}.json"
        target.write_text(json.dumps(poisoned(json.loads(path.read_text()), EVIL[place % len(EVIL)])))
        shutil.copy(small_run / "gallery" / gallery_name(read(path)), tmp_path / "gallery" / gallery_name(read(target)))
    page = tmp_path / "report.html"
    robench("report", tmp_path, "-o", page)
    browser.show(page, width=390).open_all()
    assert browser.run("return [window.owned ?? null, document.getElementById('owned')]") == [None, None]
    assert browser.run("return document.scripts.length") == 1
    outside = "[onerror], [onload], a:not([href^='#']), img:not([src^='data:image/png;base64,']), iframe, object, form"
    assert browser.run("return document.querySelectorAll(arguments[0]).length", outside) == 0
    assert browser.complaints() == []
    assert [url[:60] for url in browser.requests() if not url.startswith(("data:", page.as_uri()))] == []
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    text = browser.run("return document.body.textContent")
    for evil in EVIL:
        visible = " ".join(evil.replace("\u202e", "").replace("\x1b", " ").split())
        assert visible[:20] in text
    assert "\u202e" not in text
    assert page.read_text().count("<script>") == 1
