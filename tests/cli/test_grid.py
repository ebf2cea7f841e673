"""Which cells a command line stands for, and that a suite file says the same."""

from __future__ import annotations

import pytest

from robench import SpecError
from robench.plan.spec import Spec, plan
from robench.plan.suite import read_suite

GRID = """
title = "A grid"
description = "What the command line says too."
n = 60

[[run]]
defense = ["none", "tecoa"]
attack = ["fgsm", "pgd"]
surrogate = "self"
eps = ["4/255", "8/255"]

[run.parameters]
attack.steps = 5
tecoa.epochs = 1
"""
WORDS = ("--defense", "none,tecoa", "--attack", "fgsm,pgd", "--surrogate", "self", "--eps", "4/255,8/255", "--n", "60")


def cells(done):
    assert done.code == 0, done.said
    said = done.out.splitlines()
    place = next(place for place, line in enumerate(said) if " cells; at most " in line)
    lines = said[:place]
    assert said[place].startswith(f"{len(lines)} cells; at most ")
    return lines


def test_a_grid_is_the_product_of_its_lists(robench):
    lines = cells(robench("run", "--dry-run", *WORDS))
    assert len(lines) == 2 * 2 * 2 * 2
    assert sum(" via self " in line for line in lines) == 8
    assert sum("Linf 4/255" in line for line in lines) == 8


def test_the_undefended_victim_is_always_measured_and_never_twice(robench):
    once = cells(robench("run", "--dry-run", "--n", "20", "--defense", "tecoa,tecoa"))
    assert [" / none / " in line for line in once] == [True, False]


def test_seeds_multiply(robench):
    lines = cells(robench("run", "--dry-run", "--n", "20", "--seed", "0,1", "--seed", "2"))
    assert [line.partition(", seed ")[2][0] for line in lines] == ["0", "1", "2"]


def test_a_brackets_parameter_beats_the_option(robench):
    (line,) = cells(robench("run", "--dry-run", "--n", "20", "--attack", "pgd[steps=3]", "-p", "attack.steps=5"))
    assert "pgd[steps=3]" in line


def test_a_role_parameter_reaches_every_component_that_has_it(robench):
    lines = cells(robench("run", "--dry-run", "--n", "20", "--attack", "fgsm,pgd", "-p", "attack.steps=5"))
    assert " / fgsm at " in lines[0]
    assert "pgd[steps=5]" in lines[1]


def test_passes_left_are_counted(robench):
    done = robench("run", "--dry-run", "--n", "20", "--attack", "pgd[steps=5]")
    (line,) = cells(done)
    assert "craft 100 forwards + 100 backwards" in line
    assert "score 20 forwards + 0 backwards" in line
    assert "1 cells; at most 140 forwards + 100 backwards left" in done.out


def test_a_suite_is_the_same_plan(robench, tmp_path):
    # Without training, since the size of a train split is known only to torch.
    (tmp_path / "grid.toml").write_text(GRID.replace(', "tecoa"]', "]").replace("tecoa.epochs = 1", ""))
    suite = robench("run", "grid.toml", "--dry-run")
    assert cells(suite)
    assert suite.out == robench("run", "--dry-run", *WORDS[2:], "-p", "attack.steps=5").out


def test_a_suite_has_the_same_card_ids(tmp_path):
    (tmp_path / "grid.toml").write_text(GRID)
    (spec,) = read_suite(tmp_path / "grid.toml").runs
    typed = Spec(
        defense=("none", "tecoa"), attack=("fgsm", "pgd"), surrogate=("self",), eps=("4/255", "8/255"), n=60,
        parameters={"attack.steps": "5", "tecoa.epochs": "1"},
    )  # fmt: skip
    assert [cell.score_id for cell in plan(spec)] == [cell.score_id for cell in plan(typed)]


def test_a_suite_without_run_tables_is_one_run(tmp_path):
    (tmp_path / "one.toml").write_text('attack = "fgsm"\nn = 20\n')
    suite = read_suite(tmp_path / "one.toml")
    assert suite.title == "one"
    assert [(run.attack, run.n) for run in suite.runs] == [(("fgsm",), 20)]


def test_a_suite_takes_another_n_and_seed(robench, tmp_path):
    (tmp_path / "one.toml").write_text('attack = "fgsm"\nn = 20\n')
    (line,) = cells(robench("run", "one.toml", "--dry-run", "--n", "30", "--seed", "4"))
    assert "seed 4" in line
    assert "clean 30 forwards" in line


def test_options_take_the_place_of_what_a_suite_says(robench, tmp_path):
    (tmp_path / "one.toml").write_text('attack = "fgsm"\nn = 20\neps = ["1/255", "2/255"]\n')
    words = ("--attack", "pgd[steps=2]", "--eps", "4/255", "--norm", "L2", "--surrogate", "self")
    white, transfer = cells(robench("run", "one.toml", "--dry-run", *words))
    assert white.startswith("tiny-clip / none / pgd[steps=2] at L2 4/255, seed 0: ")
    assert transfer.startswith("tiny-clip / none / pgd[steps=2] via self at L2 4/255, seed 0: ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("attack = ", "is not TOML: "),
        ("\xff", "is not TOML: "),
        ('atack = "pgd"', "'atack' is no key of a run; did you mean 'attack'? Known: "),
        ('[[run]]\nstore = "x"', "'store' is no key of a run; "),
        ('run = "pgd"', "write each run as a [[run]] table."),
        ("run = [1]", "write each run as a [[run]] table."),
        ('n = "many"', "n must be a whole number, not 'many'."),
        ("n = true", "n must be a whole number, not True."),
        ("seed = [0, 1.5]", "seed must be a whole number, not 1.5."),
        ('parameters = "steps=5"', "parameters is a table such as [parameters] with attack.steps = 20."),
        ("[parameters]\nsteps = 20", "parameter 'steps' names no component; write role.parameter = value."),
        ("dataset = 5", "dataset must be text, not 5."),
        ('dataset = ["digits", 5]', "dataset must be text, not 5."),
        ("norm = 2", "norm must be text, not 2."),
        ("defense = [1]", "defense must be text, not 1."),
        ("attack = [[]]", "attack must be text, not []."),
        ("eps = [true]", "eps must be a number, not True."),
        ("eps = {a = 1}", "eps must be a number, not {'a': 1}."),
        ('baseline = "no"', "baseline must be true or false, not 'no'."),
    ],
)
def test_a_suite_that_cannot_be_read_as_written(robench, tmp_path, text, sentence):
    (tmp_path / "bad.toml").write_bytes(text.encode("latin-1"))
    done = robench("run", "bad.toml", "--dry-run")
    assert done.code == 2
    assert "robench: suite bad.toml" in done.err
    assert sentence in done.said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[parameters]\nattack.stepz = 5", "pgd has no parameter 'stepz'; did you mean 'steps'?"),
        ("[parameters]\nattack.steps = 5.5", "pgd.steps takes int, not '5.5' ("),
        ("[parameters]\nattack.steps = [5]", "-p attack.steps takes text, a number, a truth value or none, not [5]."),
        ("[parameters]\nattack.steps = true", "pgd.steps takes int, not 'True' ("),
        ("[parameters]\nattack.steps = nan", "pgd.steps takes int, not 'nan' ("),
        ("[parameters]\nattack.steps = inf", "pgd.steps takes int, not 'inf' ("),
        ("eps = nan", "--eps nan is no finite number; write a fraction such as '8/255' or a decimal such as 0.03."),
        ("eps = 8", "eps 8 is larger than the whole pixel range"),
        ("attack = []", "No attack is named; give at least one with --attack."),
        ('norm = "L3"', "norm 'L3' is unknown; choose Linf, L2, L1, L0, patch or corruption."),
    ],
)
def test_a_suite_that_asks_for_the_impossible(robench, tmp_path, text, sentence):
    (tmp_path / "bad.toml").write_text(text)
    done = robench("run", "bad.toml", "--dry-run")
    assert done.code == 2
    assert sentence in done.said


def test_a_suite_that_is_not_there(robench, tmp_path):
    assert (
        "suite gone.toml cannot be read (No such file or directory); name a TOML file, or suite:NAME (robench "
        "suites lists them)." in robench("run", "gone.toml").said
    )
    assert (
        f"{tmp_path} is a folder, not a suite; name a TOML file, or suite:NAME (robench suites lists them)."
        in robench("run", tmp_path).said
    )


def test_a_missing_suite_is_a_spec_error(tmp_path):
    with pytest.raises(SpecError):
        read_suite(tmp_path / "gone.toml")


def test_a_suite_prints_what_was_published_beside_what_it_measured(robench, tmp_path):
    (tmp_path / "one.toml").write_text(
        'title = "A report"\nattack = "fgsm"\nn = 20\n[[published]]\ndefense = "none"\nclean = 100\nrobust = 99.5\n'
        'source = "nobody"\nnote = "Invented."\n'
    )
    done = robench("run", "one.toml", "--gate", "quick")
    assert done.code == 0
    assert "Published beside measured" in done.out
    assert "Invented." in done.out
    page = (tmp_path / "results" / "PUBLISHED.md").read_text()
    assert page.startswith("# Published beside measured\n\n## A report\n")
    assert "| clean | 100.00 |" in page
    assert "above | VALID | nobody |" in page or "above | SUSPECT | nobody |" in page


def test_the_page_of_published_figures_keeps_what_an_earlier_run_measured(robench, tmp_path):
    figure = '[[published]]\ndefense = "none"\nattack = "fgsm"\nrobust = 99.5\nsource = "nobody"\n'
    (tmp_path / "one.toml").write_text(f'title = "A report"\nattack = "fgsm"\nn = 20\n{figure}')
    (tmp_path / "two.toml").write_text(f'title = "A report"\nattack = "noise"\nn = 20\n{figure}')
    assert robench("run", "one.toml", "--gate", "quick").code == 0
    page = tmp_path / "results" / "PUBLISHED.md"
    first = page.read_text()
    assert "| 99.50 |" in first
    assert " VALID | nobody |" in first or " SUSPECT | nobody |" in first
    assert robench("run", "two.toml", "--gate", "quick").code == 0
    assert page.read_text() == first


def test_one_suite_takes_nothing_from_the_page_of_another(robench, tmp_path):
    """Each run has the page of both, whatever is run last; what was not measured stays as well."""
    row = '[[published]]\ndefense = "{}"\nattack = "fgsm"\nrobust = {}\nsource = "{}"\n'
    for name, title, rows in (
        ("one", "First report", (("none", 99.5, "a"), ("tecoa", 88.5, "b"))),
        ("two", "Second report", (("none", 77.5, "c"), ("vpt", 66.5, "d"))),
    ):
        figures = "".join(row.format(*each) for each in rows)
        (tmp_path / f"{name}.toml").write_text(f'title = "{title}"\nattack = "fgsm"\nn = 20\n{figures}')
    page = tmp_path / "results" / "PUBLISHED.md"
    seen = []
    for words in (("one.toml",), ("two.toml",), ("one.toml",), ("--attack", "fgsm", "--n", 20)):
        assert robench("run", *words, "--gate", "quick").code == 0
        seen.append(page.read_text())
    assert "Second report" not in seen[0]
    assert seen[1] == seen[2] == seen[3]
    told = [line for line in seen[1].splitlines() if line.startswith("## ") or "| under attack |" in line]
    assert told[0::3] == ["## First report", "## Second report"]
    measured, missing = told[1::3], told[2::3]
    assert [line.split(" | ")[2] for line in measured] == ["99.50", "77.50"]
    assert not [line for line in measured if "not run" in line]
    assert missing == [
        "| tecoa, fgsm | under attack | 88.50 | - | not run | - | b |",
        "| vpt, fgsm | under attack | 66.50 | - | not run | - | d |",
    ]


def test_a_damaged_record_of_suites_is_told_and_left(robench, tmp_path):
    (tmp_path / "one.toml").write_text(
        'title = "A"\nattack = "fgsm"\nn = 20\n[[published]]\ndefense = "none"\nrobust = 99.5\nsource = "a"\n'
    )
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "published.json").write_text("[1]")
    done = robench("run", "one.toml", "--gate", "quick")
    assert done.code == 2
    assert (
        "results/published.json is not what robench run writes (Expected `object`, got `int` - at `$[0]`), and holds "
        "what suites stated that were run into results; remove it and run them again, which computes nothing anew, or "
        "name another folder with -o." in done.said
    )
    assert (tmp_path / "results" / "published.json").read_text() == "[1]"
    assert not (tmp_path / "results" / "cards").exists()  # told before any work


def test_parameters_change_a_suite(robench, tmp_path):
    (tmp_path / "one.toml").write_text('attack = "pgd"\nn = 20\nparameters.attack.steps = 20\n')
    (line,) = cells(robench("run", "one.toml", "--dry-run", "-p", "attack.steps=5"))
    assert "craft 100 forwards + 100 backwards" in line
