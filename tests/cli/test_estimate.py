"""What a planned grid costs, from rates and counts that are known by hand."""

from __future__ import annotations

import pytest

from robench.cli.estimate import Estimate, Rates, read_rates
from robench.errors import SpecError

RATES = """\
price = 3

[passes_per_second]
tiny-clip = 2.5
"""


def test_time_price_and_disk_by_hand():
    estimate = Estimate()
    estimate.add("small", 1000)
    estimate.add("large", 7200)
    estimate.add_images(50, "digits", (3, 10, 10))
    estimate.add_images(50, "known", None)
    rates = Rates({"small": 100.0, "large": 2.0}, 3.0, {"small": "here", "large": "there"}, {"known": (1, 10, 10)})
    time, price, disk = estimate.lines(rates, 1.0, "all")
    # 10 s and an hour, twice, since the gate may take as much again; 50 x 300 and 50 x 100 numbers of 4 bytes.
    assert time.startswith("time: about 2.0 h on one device (small 100 passes/s here, large 2 passes/s there; the gate")
    assert price == "price: about 6.02 at 3.00 an hour"
    assert disk == "disk: at most 80.0 kB of adversarial images; fitted weights come on top"


def test_what_is_not_known_is_said():
    estimate = Estimate()
    estimate.add("small", 1000)
    estimate.add_images(50, "digits", None)
    time, disk = estimate.lines(Rates({"large": 2.0}), None, "flipped")
    assert time == "time: not known, since the store has no card of small; --rates FILE gives rates"
    assert disk == "disk: not known before the images of digits are looked at"


def test_a_dry_run_knows_the_rates_of_its_store_and_of_a_table(robench, real_run, tmp_path):
    words = [*real_run.words, "--eps", "2/255"]
    said = robench(*words, "--dry-run").said
    assert "shared" not in said  # fit and clean passes are stored
    assert "passes/s from 4 stored cards; the gate adds at most 100%, and counted)" in said
    size = 2 * 2 * 60 * 32 * 32 * 3 * 4
    assert f"disk: at most {size / 1e6:.1f} MB of adversarial images; fitted" in said
    assert "price" not in said

    (tmp_path / "rates.toml").write_text(RATES)
    said = robench(*words, "--dry-run", "--rates", tmp_path / "rates.toml", "--keep-images", "digests").said
    assert f"tiny-clip 2 passes/s from {tmp_path / 'rates.toml'}; the gate" in said
    assert "price: about " in said
    assert "disk" not in said
    fresh = robench("run", "--dry-run", "--n", "20", "--attack", "fgsm,pgd", "--eps", "2/255,4/255").said
    assert "shared, and done once: clean 3 times less" in fresh  # of four cells
    assert "time: not known, since the store has no card of tiny-clip; --rates FILE gives rates" in fresh
    assert "time: " not in robench(*real_run.words, "--dry-run").out  # nothing is left


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("price = ", "is no TOML file"),
        ("prize = 3", "prize is not understood; write passes_per_second = {VICTIM = 900} and price = 2.5"),
        ("passes_per_second = 3", "passes_per_second is not understood"),
        ("price = -1", "price = -1 is no number above 0"),
        ("passes_per_second = {a = true}", "a = True is no number above 0"),
        ("passes_per_second = {a = inf}", "a = inf is no number above 0"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path, text, words):
    (tmp_path / "rates.toml").write_text(text)
    with pytest.raises(SpecError) as refused:
        read_rates(tmp_path / "rates.toml")
    assert words in str(refused.value)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"rates.toml cannot be read .*; name a TOML file\."):
        read_rates(tmp_path / "rates.toml")
