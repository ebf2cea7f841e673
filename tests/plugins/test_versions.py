"""The API a plugin was written for: read before the import, judged, and told to whom it concerns."""

from __future__ import annotations

import json
import warnings

import pytest

from robench.errors import PluginError
from robench.plugin.deprecation import ApiDeprecationWarning, deprecated
from robench.plugin.versions import judge_api, stated_api

GOOD = '''
"""A plugin."""
from robench import Defense, hookimpl
{statement}

class Blur(Defense):
    """Blur the input."""

    name = "blur"

@hookimpl
def robench_defenses():
    return [Blur]
'''
FUTURE = {2: "Defense.fit returns nothing; write what it returned into the model.", 3: "norms is a method."}


def stating(statement=""):
    return GOOD.format(statement=statement)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes a module and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source, name="stated_plugin"):
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


@pytest.mark.parametrize(
    ("statement", "api"),
    [
        ("", 1),
        ("ROBENCH_API = 1", 1),
        ("ROBENCH_API = 7", 7),
        ("ROBENCH_API: int = 3", 3),
        ("ROBENCH_API: int", 1),
        ("OTHER = ROBENCH_API = 2", 2),
        ("def f():\n    ROBENCH_API = 5", 1),
    ],
)
def test_the_statement_is_read_from_the_source(module, statement, api):
    assert stated_api(module(f"raise SystemExit('imported')\n{statement}\n")) == api


def test_a_package_states_it_in_its_init(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "stated_package").mkdir()
    (tmp_path / "stated_package" / "__init__.py").write_text("ROBENCH_API = 4\n")
    assert stated_api("stated_package") == 4


@pytest.mark.parametrize("name", ["no_such_module_at_all", "math"])
def test_what_has_no_python_source_states_nothing(name):
    assert stated_api(name) == 1


@pytest.mark.parametrize("value", ["'1'", "robench.API_VERSION", "True", "0", "-1", "1.0", "None"])
def test_a_statement_that_is_no_number_is_refused(module, value):
    with pytest.raises(PluginError) as raised:
        stated_api(module(f"ROBENCH_API = {value}\n"))
    assert str(raised.value) == (
        f"ROBENCH_API in stated_plugin.py is {value}; write the API the plugin was written for as a plain number, "
        "ROBENCH_API = 1."
    )


def test_the_present_api_needs_no_words():
    assert judge_api(1, "blur 1.0") == ""
    assert judge_api(3, "blur 1.0", 3, 1, FUTURE) == ""


def test_an_older_api_is_told_every_change_since():
    assert judge_api(1, "blur 1.0", 3, 1, FUTURE) == (
        "written for robench API 1; it works, but this robench has API 3. API 2: Defense.fit returns nothing; write "
        "what it returned into the model. API 3: norms is a method. Then state ROBENCH_API = 3."
    )
    assert "API 2:" not in judge_api(2, "blur 1.0", 3, 1, FUTURE)


def test_a_later_api_is_refused():
    with pytest.raises(PluginError) as raised:
        judge_api(2, "blur 1.0")
    assert str(raised.value) == (
        "blur 1.0 was written for robench API 2, and this robench has API 1; upgrade robench, or install an older blur."
    )


@pytest.mark.parametrize(("current", "oldest", "range_"), [(3, 2, "APIs 2 to 3"), (3, 3, "API 3")])
def test_an_api_no_longer_supported_is_refused(current, oldest, range_):
    with pytest.raises(PluginError) as raised:
        judge_api(1, "blur 1.0", current, oldest, FUTURE)
    assert str(raised.value) == (
        f"blur 1.0 was written for robench API 1, and this robench works with {range_}; upgrade blur, or install an "
        "older robench."
    )


def test_an_incompatible_plugin_is_broken_and_never_imported(site):
    site.install("later", stating("ROBENCH_API = 2\nopen('imported', 'w')"))
    site.install("blur", stating())
    done = site.robench("list")
    assert done.code == 0
    assert (
        "broken: later (later 1.0): PluginError: later 1.0 was written for robench API 2, and this robench" in done.said
    )
    assert "Blur the input." in done.out
    assert not (site.root / "imported").exists()


def test_naming_a_component_of_an_incompatible_plugin_gives_the_way_out(site):
    site.install("later", stating("ROBENCH_API = 2"))
    done = site.robench("run", "--dry-run", "--n", "20", "--defense", "blur")
    assert done.code == 2
    assert "upgrade robench, or install an older later" in done.said


def test_an_older_plugin_works_and_hears_what_to_change(site):
    site.install("blur", stating("ROBENCH_API = 1"))
    site.future(3, 1, FUTURE)
    listed = site.robench("plugins")
    assert listed.code == 0
    assert "blur (blur 1.0): written for robench API 1; it works, but this robench has API 3. API 2: " in listed.said
    planned = site.robench("run", "--dry-run", "--n", "20", "--defense", "blur")
    assert planned.code == 0
    assert "blur" in planned.out


def test_a_plugin_too_old_is_broken(site):
    site.install("blur", stating("ROBENCH_API = 1"))
    site.future(3, 2, FUTURE)
    found = {p["name"]: p for p in json.loads(site.robench("plugins", "--json").out)["plugins"]}
    assert found["blur"]["state"] == "broken"
    assert "this robench works with APIs 2 to 3; upgrade blur, or install an older robench." in found["blur"]["reason"]


def test_a_renamed_name_of_the_door_works_and_says_the_new_one(site):
    site.install("blur", stating("from robench import param"))
    site.future(1, 1, {}, param=("parameter", 2))
    (found,) = (p for p in json.loads(site.robench("plugins", "--json").out)["plugins"] if p["name"] == "blur")
    assert found["state"] == "works"
    assert found["notes"] == ["robench.param is deprecated since robench API 2; use robench.parameter."]


def test_other_warnings_of_an_import_go_where_they_would_have_gone(site):
    site.install("blur", stating("import warnings\nwarnings.warn('old weights', FutureWarning)"))
    done = site.robench("plugins")
    assert done.code == 0
    assert "FutureWarning: old weights" in done.err


class Old:
    @deprecated(use="Old.new", since=2)
    def method(self, number, *, plus=0):
        """Add."""
        return number + plus


def test_a_deprecated_method_works_and_warns_where_it_is_called():
    with pytest.warns(ApiDeprecationWarning) as caught:
        assert Old().method(2, plus=3) == 5
    assert str(caught[0].message) == "Old.method is deprecated since robench API 2; use Old.new."
    assert caught[0].filename == __file__
    assert Old.method.__doc__ == "Add."


def test_a_run_is_not_disturbed_by_a_deprecation():
    assert issubclass(ApiDeprecationWarning, DeprecationWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert Old().method(1) == 1
