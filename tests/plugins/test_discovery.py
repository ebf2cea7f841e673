"""What `list`, `show` and a plan say about plugins that cannot be used; none of it needs torch."""

from __future__ import annotations

import os

import pytest

GOOD = '''
from robench import Defense, hookimpl

class {title}(Defense):
    """{summary}"""

    name = "{name}"

@hookimpl
def robench_defenses():
    return [{title}]
'''


def good(name="blur", summary="Blur the input."):
    return GOOD.format(name=name, title=name.title(), summary=summary)


def hook(body, name="robench_defenses", mark="@hookimpl"):
    return (
        "from typing import Literal\n"
        "from robench import Attack, Defense, hookimpl, parameter\n"
        "class Fine(Defense):\n"
        "    '''Do nothing.'''\n"
        "    name = 'fine'\n"
        f"{mark}\n"
        f"def {name}():\n"
        f"{body}\n"
    )


BROKEN = {
    "import": ("import no_such_module_here\n", "ModuleNotFoundError: No module named 'no_such_module_here'"),
    "raises": ("raise RuntimeError('needs a licence key')\n", "RuntimeError: needs a licence key"),
    "syntax": ("def oops(:\n", "SyntaxError: invalid syntax"),
    "misspelled": (
        hook("    return [Fine]", name="robench_defences"),
        "fake 1.0 defines the hook 'robench_defences', which does not exist; did you mean 'robench_defenses'? ",
    ),
    "unmarked misspelled": (
        hook("    return [Fine]", name="robench_defence", mark=""),
        "fake 1.0 defines the hook 'robench_defence', which does not exist; did you mean 'robench_defenses'? ",
    ),
    "unmarked": (
        hook("    return [Fine]", mark=""),
        "fake 1.0 defines 'robench_defenses' without @hookimpl, so it would never be called.",
    ),
    "instance": (hook("    return [Fine()]"), "robench_defenses must return a list of Defense classes, not Fine()."),
    "wrong class": (
        hook("    return [Fine]", name="robench_attacks"),
        "robench_attacks must return a list of Attack classes, not <class 'fake.Fine'>.",
    ),
    "text": (hook("    return 'fine'"), "robench_defenses must return a list of Defense classes, not 'fine'."),
    "nothing": (hook("    [Fine]"), "robench_defenses must return a list of Defense classes, not None."),
    "hook raises": (hook("    return [Fine][1]"), "IndexError: list index out of range"),
    "arguments": (hook("    return [Fine]").replace("defenses()", "defenses(config)"), "config"),
    "no docstring": (
        hook("    Fine2 = type('Fine2', (Defense,), {'name': 'fine'})\n    return [Fine2]"),
        "Fine2 has no docstring; its first line is what 'robench list' shows.",
    ),
    "no name": (
        hook("    class Odd(Defense):\n        '''Do nothing.'''\n    return [Odd]"),
        "from robench_defenses has no name; give it a class attribute 'name'.",
    ),
    "name is a number": (
        hook("    class Odd(Defense):\n        '''Do nothing.'''\n        name = 5\n    return [Odd]"),
        "cannot be named 5",
    ),
    "name with brackets": (
        hook("    class Odd(Defense):\n        '''Do nothing.'''\n        name = 'odd[1]'\n    return [Odd]"),
        "cannot be named 'odd[1]'",
    ),
    "name with a comma": (
        hook("    class Odd(Defense):\n        '''Do nothing.'''\n        name = 'odd,even'\n    return [Odd]"),
        "cannot be named 'odd,even'",
    ),
    "bare field": (
        hook(
            "    class Odd(Defense):\n        '''Do nothing.'''\n        name = 'odd'\n        k: int = 3\n"
            "    return [Odd]"
        ),
        "must be declared with robench.parameter(default=..., help='what it means').",
    ),
    "field without default": (
        hook(
            "    class Odd(Defense):\n        '''Do nothing.'''\n        name = 'odd'\n        k: int\n    return [Odd]"
        ),
        "must be declared with robench.parameter(default=..., help='what it means').",
    ),
    "default of another type": (
        hook(
            "    class Odd(Defense):\n        '''Do nothing.'''\n        name = 'odd'\n"
            "        k: int = parameter('three', 'how many')\n    return [Odd]"
        ),
        "has the default 'three', which is no int in its range; parameters are bool, int, float, str, ",
    ),
    "mutable default": (
        hook(
            "    class Odd(Defense):\n        '''Do nothing.'''\n        name = 'odd'\n"
            "        k: list = parameter([], 'how many')\n    return [Odd]"
        ),
        "mutable default",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_plugin_is_listed_with_its_reason(site, case):
    source, reason = BROKEN[case]
    site.install("fake", source)
    done = site.robench("list")
    assert done.code == 0
    assert "broken: fake (fake 1.0): " in done.said
    assert " ".join(reason.split()) in done.said
    assert "tecoa" in done.out  # the others are still there
    assert " fine " not in done.out


def test_a_component_nobody_offers_blames_the_broken_plugin(site):
    site.install("fake", BROKEN["raises"][0])
    for words in (("show", "jpeg"), ("run", "--dry-run", "--n", "20", "--defense", "jpeg")):
        done = site.robench(*words)
        assert done.code == 2
        assert "'jpeg'" in done.err
        assert "The plugin fake 1.0 is broken (RuntimeError: needs a licence key)." in done.said


def test_a_broken_plugin_does_not_touch_other_runs(site):
    site.install("fake", BROKEN["import"][0])
    done = site.robench("run", "--dry-run", "--n", "20")
    assert done.code == 0
    assert "1 cells" in done.out


def test_two_plugins_of_one_name(site):
    site.install("first", good("blur"), entry="same")
    site.install("second", good("jpeg"), entry="same", version="2.5")
    done = site.robench("list")
    assert done.code == 2
    assert "Two plugins register the name 'same' in the entry-point group 'robench': " in done.said
    assert "first 1.0 (first)" in done.said
    assert "second 2.5 (second)" in done.said
    assert "Uninstall one, or rename its entry point; until then leave one out with --without" in done.said


def test_a_plugin_that_takes_the_builtins_name(site):
    site.install("greedy", good(), entry="builtins")
    done = site.robench("list")
    assert done.code == 2
    assert "greedy 1.0 (greedy)" in done.said
    assert "(robench_builtins)" in done.said


def test_one_component_of_two_plugins(site):
    site.install("first", good("blur"))
    site.install("second", good("blur"))
    done = site.robench("show", "blur")
    assert done.code == 2
    assert "The defense 'blur' is offered twice: by first 1.0 and by second 1.0." in done.said
    assert "Uninstall one, or rename its component; until then leave one out with --without" in done.said


def test_a_component_offered_twice_by_one_plugin(site):
    site.install("first", good("blur").replace("[Blur]", "[Blur, Blur]"))
    done = site.robench("list")
    assert done.code == 0
    assert "broken: first (first 1.0): PluginError: The defense 'blur' is offered twice: Blur and Blur" in done.said


def test_a_component_named_like_a_builtin(site):
    site.install("fake", good("tecoa"))
    done = site.robench("list")
    assert done.code == 2
    assert "The defense 'tecoa' is offered twice: by robench " in done.said or "and by robench" in done.said


def test_markup_in_a_plugins_words_is_shown_not_obeyed(site):
    source = good(summary="Map [0, 1] to [red] pixels [/nothing].").replace(
        '    name = "blur"', '    name = "blur"\n    k: int = parameter(1, "colours in [blue] and [/green]")'
    )
    site.install("fake", source.replace("import Defense", "import Defense, parameter"))
    listed, shown = site.robench("list"), site.robench("show", "blur")
    assert listed.code == shown.code == 0
    for done in (listed, shown):
        assert "Map [0, 1] to [red] pixels [/nothing]." in done.said
    assert "colours in [blue] and [/green]" in shown.said


def test_a_module_met_twice_on_the_path_is_one_plugin(site):
    site.install("fake", good())
    done = site.robench("list", PYTHONPATH=os.pathsep.join([str(site.path)] * 2 + [os.environ.get("PYTHONPATH", "")]))
    assert done.code == 0
    assert done.out.count("Blur the input.") == 1
