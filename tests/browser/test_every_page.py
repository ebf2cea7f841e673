"""Every page on a phone and a laptop, in light and dark: it never scrolls sideways, and a table that does says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import run_robench

ROOT = Path(__file__).resolve().parents[2]
HINT = '"Scroll sideways: this table is wider than the page →"'

#: What can be scrolled sideways, and whether it is a box that shows the hint, next to what the hint is elsewhere.
LOOK = """
const shown = [...document.querySelectorAll('*')].filter(one => one.checkVisibility());
const hint = one => {
  const before = getComputedStyle(one, '::before');
  return before.content === arguments[0] && parseFloat(before.height) > 0;
};
const wider = one => one.scrollWidth > one.clientWidth + 1;
const scrolls = one => /auto|scroll/.test(getComputedStyle(one).overflowX);
return {
  page: document.documentElement.scrollWidth,
  silent: shown.filter(one => scrolls(one) && wider(one) && !hint(one)).map(one => one.outerHTML.slice(0, 120)),
  wrong: shown.filter(one => hint(one) && !wider(one)).map(one => one.outerHTML.slice(0, 120)),
  said: shown.filter(hint).length,
};
"""


@pytest.fixture(scope="session")
def pages(small_run, run_page, cards_page, tmp_path_factory):
    """Return the pages that robench writes, by name."""
    folder = tmp_path_factory.mktemp("pages")
    first, second = (next((small_run / "cards").glob(f"*-{name}-pgd-Linf-8*")) for name in ("none", "tecoa"))
    run_robench("compare", first, second, "-o", folder / "compare.html")
    run_robench("compare", small_run, small_run, "-o", folder / "folders.html")
    run_robench("leaderboard", small_run / "cards", "-o", folder)
    return {
        "leaderboard": ROOT / "leaderboard" / "index.html",
        "digits-models": ROOT / "leaderboard" / "digits-models" / "index.html",
        "zero-shot": ROOT / "leaderboard" / "zero-shot" / "index.html",
        "a run's leaderboard": folder / "index.html",
        "a run's report": run_page,
        "report": cards_page,
        "compared cards": folder / "compare.html",
        "compared folders": folder / "folders.html",
    }


#: Each two of width, scheme and scripts meet.
@pytest.mark.parametrize(
    ("width", "scheme", "scripts"),
    [(390, "light", True), (390, "dark", False), (1280, "light", False), (1280, "dark", True)],
)
@pytest.mark.parametrize(
    "name",
    [
        "leaderboard",
        "digits-models",
        "zero-shot",
        "a run's leaderboard",
        "a run's report",
        "report",
        "compared cards",
        "compared folders",
    ],
)
def test_a_page_fits_and_what_scrolls_says_so(browser, pages, name, width, scheme, scripts):
    browser.show(pages[name], width=width, scheme=scheme, scripts=scripts).open_all()
    # Sizes are heard of after the page was laid out.
    looks = (browser.run(LOOK, HINT) for _ in range(50))
    found = next((look for look in looks if not look["silent"] and not look["wrong"]), None) or browser.run(LOOK, HINT)
    assert found["page"] <= width
    assert (found["silent"], found["wrong"]) == ([], [])
    if width == 390 and "compared" not in name:
        assert found["said"] > 0, "nothing on this page scrolls, so the test sees nothing"


def test_on_a_phone_all_headings_to_sort_by_are_in_sight(browser, pages):
    for name in ("leaderboard", "a run's report"):
        browser.show(pages[name], width=390)
        beyond = (
            "return [...document.querySelectorAll('.sortable thead button')].filter(one => one.checkVisibility())"
            ".filter(one => one.getBoundingClientRect().right > innerWidth).length"
        )
        assert browser.run(beyond) == 0
        said = "return getComputedStyle(document.querySelector('.sortable thead tr'), '::before').content"
        assert browser.run(said) == '"Sort by"'
