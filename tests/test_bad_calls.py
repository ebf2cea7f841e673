"""What is called wrong from Python ends in one error that speaks of arguments, names the one at fault, and helps."""

from __future__ import annotations

import dataclasses
import decimal
import fractions
import inspect
import math

import numpy as np
import pytest
import torch
from torch import nn

import robench
from robench.errors import ArgumentError
from robench.plan.spec import Spec

#: More digits than Python writes.
ENDLESS = 10**5000


def run(**request):
    return lambda: robench.run(**{"n": 20, "device": "cpu", **request})


def spec(**request):
    return lambda: robench.run(Spec(**request), device="cpu")


def evaluate(**request):
    return lambda: robench.evaluate(nn.Flatten(), **{"n": 20, "device": "cpu", **request})


CALLS = {
    # arguments that there are not
    "run: epsilon": (run(epsilon=0.1), "robench.run has no argument 'epsilon'", "Known: attack, baseline, batch_size,"),
    "run: bach_size": (run(bach_size=5), "robench.run has no argument 'bach_size'", "did you mean 'batch_size'?"),
    "run: attacks": (run(attacks="pgd"), "robench.run has no argument 'attacks'", "did you mean 'attack'?"),
    "run: nonsense": (run(nonsense=1), "robench.run has no argument 'nonsense'", "Known: attack,"),
    "run: compile": (run(compile=True), "robench.run has no argument 'compile'", "did you mean 'compiled'?"),
    "run: gate-images": (run(**{"gate-images": 5}), "has no argument 'gate-images'", "did you mean 'gate_images'?"),
    "spec and nonsense": (
        lambda: robench.run(Spec(), nonsense=1),
        "robench.run has no argument 'nonsense'",
        "Known: attack,",
    ),
    "spec and attack": (
        lambda: robench.run(Spec(), attack="fgsm"),
        "was given a Spec and 'attack' too",
        "put it into the Spec, or leave it out.",
    ),
    "no spec": (
        lambda: robench.run("pgd"),
        "takes a Spec or a suite first, not 'pgd'",
        "robench.run(defense='tecoa', attack='pgd') or robench.run('suite:digits').",
    ),
    "a dict": (lambda: robench.run({"n": 5}), "takes a Spec or a suite first, not {'n': 5}", "robench.run(defense="),
    "evaluate: defense": (
        evaluate(defense="tecoa"),
        "robench.evaluate has no argument 'defense'",
        "robench.run has one, with victim='net.py:build'.",
    ),
    "evaluate: surrogate": (
        evaluate(surrogate="self"),
        "has no argument 'surrogate'",
        "robench.run has one, with victim=",
    ),
    "evaluate: victim": (evaluate(victim="x"), "has no argument 'victim'", "robench.run has one, with victim="),
    "evaluate: epsilon": (evaluate(epsilon=0.1), "robench.evaluate has no argument 'epsilon'", "Known: attack,"),
    "evaluate: bach_size": (evaluate(bach_size=5), "has no argument 'bach_size'", "did you mean 'batch_size'?"),
    "evaluate: known": (evaluate(known=None), "has no argument 'known'", "Known: attack,"),
    "evaluate: a name": (
        lambda: robench.evaluate("tiny-clip"),
        "measures an nn.Module, not 'tiny-clip'",
        "robench.run(victim='tiny-clip') measures a model by its name.",
    ),
    # nothing, where the default was not meant
    "empty dataset": (run(dataset=""), "dataset is empty", "give a name, or leave it out for the default."),
    "blank dataset": (run(dataset=" "), "dataset is empty", "give a name, or leave it out for the default."),
    "no dataset": (run(dataset=None), "dataset takes text, not None", "leave it out for the default."),
    "empty attack": (run(attack=""), "attack is empty", "give a name, or leave it out for the default."),
    "an empty attack": (run(attack=["fgsm", ""]), "attack is empty", "give a name, or leave it out for the default."),
    "no attacks": (run(attack=[]), "No attack is named", "give at least one with attack."),
    "no defenses": (run(defense=[]), "No defense is named", "give at least one with defense."),
    "no eps": (run(eps=[]), "No eps is named", "give at least one with eps."),
    "no seed": (run(seed=()), "No seed is named", "give at least one with seed."),
    "attack None": (run(attack=None), "attack takes one value or a list, not None", "leave it out for the default."),
    "seed None": (run(seed=None), "seed takes one value or a list, not None", "leave it out for the default."),
    "empty defense": (run(defense=""), "defense is empty", "give a name, or leave it out for the default."),
    "empty victim": (run(victim=[""]), "victim is empty", "give a name, or leave it out for the default."),
    "empty surrogate": (run(surrogate=""), "surrogate is empty", "give a name, or leave it out for the default."),
    "empty eps": (run(eps=""), "eps is empty", "give a name, or leave it out for the default."),
    "empty norm": (run(norm=""), "norm '' is unknown", "choose Linf, L2, L1, L0, patch or corruption."),
    "empty store": (run(store=""), "store='' is no path", "name one, or leave it out for the default."),
    "empty device": (run(device=""), "device is empty", "give a name, or leave it out for the default."),
    "evaluate: empty dataset": (evaluate(dataset=""), "dataset is empty", "leave it out for the default."),
    "evaluate: empty attack": (evaluate(attack=""), "attack is empty", "leave it out for the default."),
    "evaluate: empty name": (evaluate(name=""), "name is empty", "give a name"),
    "evaluate: empty store": (evaluate(store=" "), "store=' ' is no path", "name one, or leave it out"),
    # values of another type
    "attack number": (run(attack=5), "attack takes text, not 5", "leave it out for the default."),
    "attack class": (run(attack=[int]), "attack takes text, not <class 'int'>", "leave it out for the default."),
    "attack set": (run(attack={"fgsm", "pgd"}), "attack takes one value or a list, not {", "leave it out"),
    "attack dict": (run(attack={"fgsm": 1}), "attack takes one value or a list, not {'fgsm': 1}", "leave it out"),
    "dataset list": (run(dataset=["digits", 5]), "dataset takes text, not 5", "leave it out for the default."),
    "dataset none": (run(dataset=[]), "dataset takes text, not []", "leave it out for the default."),
    "train list": (run(train_dataset=["digits"]), "train_dataset takes text, not ['digits']", "leave it out"),
    "bytes": (run(victim=b"mlp"), "victim takes text, not b'mlp'", "leave it out for the default."),
    "n True": (run(n=True), "n True is no whole number", "give a whole number from 1, or leave n out"),
    "n numpy bool": (run(n=np.True_), "is no whole number", "give a whole number from 1, or leave n out"),
    "n 0": (run(n=0), "n=0 leaves no image to test on", "give at least 1, or leave n out for the whole split."),
    "n -1": (run(n=-1), "n=-1 leaves no image to test on", "give at least 1, or leave n out for the whole split."),
    "n 1.5": (run(n=1.5), "n=1.5 is no whole number", "give a whole number from 1, or leave n out"),
    "n 20.0": (run(n=20.0), "n=20.0 is no whole number", "give a whole number from 1, or leave n out"),
    "n text": (run(n="20"), "n='20' is no whole number", "give a whole number from 1, or leave n out"),
    "n nan": (run(n=math.nan), 'n="nan" is no whole number', "give a whole number from 1, or leave n out"),
    "n list": (run(n=[20]), "n [20] is no whole number", "give a whole number from 1, or leave n out"),
    "n of 30 digits": (
        run(n=int("9" * 30)),
        "has more than the 18 digits that a card holds",
        "give a whole number from 1",
    ),
    "n endless": (run(n=ENDLESS), "the 18 digits that a card holds", "give a whole number from 1"),
    "n too many": (run(n=10**17), f"n={10**17} asks for more images than the test split of digits has", "leave n out"),
    "seed -1": (run(seed=-1), "seed=-1 is below 0", "give a whole number from 0, of at most 18 digits"),
    "seed 19 digits": (
        run(seed=int("9" * 19)),
        "has more than the 18 digits that a card holds",
        "give a whole number from 0",
    ),
    "seed True": (run(seed=True), "seed True is no whole number", "give a whole number from 0"),
    "seed 0.5": (run(seed=[0, 0.5]), "seed=0.5 is no whole number", "give a whole number from 0"),
    "seed text": (run(seed="0"), "seed='0' is no whole number", "give a whole number from 0"),
    "eps True": (run(eps=True), "eps True is no finite number", "write a fraction such as '8/255'"),
    "eps nan": (run(eps=math.nan), 'eps="nan" is no finite number', "write a fraction such as '8/255'"),
    "eps inf": (run(eps=math.inf), 'eps="inf" is no finite number', "write a fraction such as '8/255'"),
    "eps None": (run(eps=[None]), "eps None is no finite number", "write a fraction such as '8/255'"),
    "eps complex": (run(eps=1j), "eps 1j is no finite number", "write a fraction such as '8/255'"),
    "eps words": (run(eps="big"), "eps 'big' is not a number", "Write a fraction such as 8/255"),
    "eps 8": (run(eps=8), "eps 8 is larger than the whole pixel range", 'write eps="8/255".'),
    "eps -1": (run(eps=-0.1), "eps -0.1 is not a radius", "give a number of at least 0, such as 8/255."),
    "eps decimal": (run(eps=decimal.Decimal("NaN")), "is no finite number", "write a fraction such as '8/255'"),
    "eps fraction": (run(eps=fractions.Fraction(8, 1)), "eps 8 is larger than the whole pixel range", 'eps="8/255".'),
    "norm 2": (run(norm=2), "norm 2 is unknown; did you mean 'L2'?", "choose Linf, L2, L1, L0, patch or corruption."),
    "norm inf": (
        run(norm=math.inf),
        "norm inf is unknown; did you mean 'Linf'?",
        "choose Linf, L2, L1, L0, patch or corruption.",
    ),
    "norm True": (run(norm=True), "norm True is unknown", "choose Linf, L2, L1, L0, patch or corruption."),
    "norm None": (run(norm=None), "norm None is unknown", "choose Linf, L2, L1, L0, patch or corruption."),
    "norm list": (run(norm=["L2"]), "norm ['L2'] is unknown", "choose Linf, L2, L1, L0, patch or corruption."),
    "norm l2": (
        run(norm="l2"),
        "norm 'l2' is unknown; did you mean 'L2'?",
        "choose Linf, L2, L1, L0, patch or corruption.",
    ),
    "baseline text": (run(baseline="no"), "baseline is True or False", "not 'no'."),
    "baseline 0": (run(baseline=0), "baseline is True or False", "not 0."),
    "parameters text": (run(parameters="attack.steps=5"), "parameters is a mapping", "such as {'attack.steps': 20}"),
    "parameters None": (run(parameters=None), "parameters is a mapping", "such as {'attack.steps': 20}"),
    "parameters key": (run(parameters={5: 5}), "parameters names each by text", "such as 'attack.steps', not by 5."),
    "parameters list": (run(parameters={"attack.steps": [5]}), "'attack.steps' takes text, a number", "not [5]."),
    "parameters bool": (run(parameters={"attack.steps": True}), "pgd.steps takes int, not 'True'", "(gradient steps"),
    "parameters nan": (run(parameters={"attack.steps": math.nan}), "pgd.steps takes int, not 'nan'", "(gradient steps"),
    "parameters unknown": (
        run(parameters={"attack.stepz": 5}),
        "pgd has no parameter 'stepz'",
        "did you mean 'steps'?",
    ),
    "parameters nobody's": (run(parameters={"atack.steps": 5}), "'atack.steps': this run has no atack", "did you mean"),
    "parameters plain": (
        run(parameters={"steps": 5}),
        "'steps' names no component",
        'parameters={"attack.steps": 20}.',
    ),
    # how it is run
    "device gpu": (run(device="gpu"), 'device="gpu" is no device', "write cpu, cuda or cuda:0, mps, xpu or auto."),
    "device meta": (run(device="meta"), 'device="meta" is no device', "write cpu, cuda or cuda:0, mps, xpu or auto."),
    "device xla": (run(device="xla"), 'device="xla" is no device', "write cpu, cuda or cuda:0, mps, xpu or auto."),
    "device torch": (run(device=torch.device("meta")), 'device="meta" is no device', "write cpu, cuda or cuda:0, mps,"),
    "device 0": (run(device=0), "device takes text, not 0", "leave it out for the default."),
    "device None": (run(device=None), "device takes text, not None", "leave it out for the default."),
    "batch 0": (run(batch_size=0), "batch_size=0 is below 1", "give at least 1, or leave batch_size out."),
    "batch -1": (run(batch_size=-1), "batch_size=-1 is below 1", "give at least 1, or leave batch_size out."),
    "batch 1.5": (
        run(batch_size=1.5),
        "batch_size=1.5 is no whole number",
        "give at least 1, or leave batch_size out.",
    ),
    "batch True": (run(batch_size=True), "batch_size True is no whole number", "or leave batch_size out."),
    "batch text": (run(batch_size="5"), "batch_size='5' is no whole number", "or leave batch_size out."),
    "timeout 0": (run(timeout=0), "timeout=0 leaves an attack no time", "give seconds above 0, such as 60"),
    "timeout -1": (run(timeout=-1), "timeout=-1 leaves an attack no time", "or leave timeout out to wait for ever."),
    "timeout nan": (run(timeout=math.nan), 'timeout="nan" is no finite number', "give seconds above 0, such as 60"),
    "timeout inf": (run(timeout=math.inf), 'timeout="inf" is no finite number', "give seconds above 0, such as 60"),
    "timeout text": (run(timeout="60"), "timeout='60' is no finite number", "give seconds above 0, such as 60"),
    "timeout True": (run(timeout=True), "timeout True is no finite number", "give seconds above 0, such as 60"),
    "gate hard": (run(gate="hard"), 'gate="hard" is unknown', "Known: quick, standard, thorough."),
    "gate images 0": (run(gate_images=0), "gate_images=0 leaves the gate nothing to try", "give at least 1."),
    "gate images True": (run(gate_images=True), "gate_images True is no whole number", "give at least 1"),
    "gate images text": (run(gate_images="5"), "gate_images='5' is no whole number", "give at least 1"),
    "gate cost nan": (run(gate_cost=math.nan), 'gate_cost="nan" is no', "give a number above 0, such as 1."),
    "gate cost 0": (run(gate_cost=0), "gate_cost=0 is no share", "give a number above 0, such as 1."),
    "gate cost -1": (run(gate_cost=-1.0), "gate_cost=-1 is no share", "give a number above 0, such as 1."),
    "gate cost text": (run(gate_cost="1"), "gate_cost='1' is no", "give a number above 0, such as 1."),
    "offline text": (run(offline="no"), "offline is True or False", "not 'no'."),
    "compiled 1": (run(compiled=1), "compiled is True or False", "not 1."),
    "prepared None": (run(prepared=None), "prepared is True or False", "not None."),
    "gallery text": (run(gallery="yes"), "gallery is True or False", "not 'yes'."),
    "store number": (run(store=5), "store takes a path, not 5", "leave it out for the default."),
    "store bytes": (run(store=b"x"), "store takes a path, not b'x'", "leave it out for the default."),
    "store null": (run(store="a\0b"), "store='a\\x00b' is no path", "name one, or leave it out for the default."),
    # names
    "no such attack": (run(attack="pdg"), "There is no attack 'pdg'", "did you mean 'pgd'?"),
    "no such victim": (spec(victim=("tinyclip",)), "There is no victim 'tinyclip'", "did you mean 'tiny-clip'?"),
    "spec: text for a list": (spec(seed="0"), "seed='0' is no whole number", "give a whole number from 0"),
    "spec: n": (spec(n=0), "n=0 leaves no image to test on", "give at least 1, or leave n out"),
    "no victim": (run(dataset="imagefolder"), "has no usual victim", "name one with victim."),
    "no path": (
        run(dataset="imagefolder", victim="tiny-clip"),
        "imagefolder",
        'pass parameters={"dataset.path": DIR}.',
    ),
    "not UTF-8": (run(dataset="folder:caf\udce9", victim="tiny-clip"), "is not UTF-8", "rename the file or folder"),
    "-p not UTF-8": (
        run(parameters={"dataset.path": "caf\udce9"}),
        "'dataset.path': 'caf",
        "rename the file or folder",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_that_is_wrong_is_one_error_in_pythons_words(case, tmp_path, monkeypatch):
    monkeypatch.setenv("ROBENCH_STORE", str(tmp_path / "store"))
    call, what, out = CALLS[case]
    with pytest.raises(robench.RobenchError) as raised:
        call()
    said = str(raised.value)
    assert what in said
    assert out in said
    assert "--" not in said
    assert " -p " not in said
    assert len(said) < 1000
    assert said.endswith((".", ")"))


@pytest.mark.parametrize("case", [case for case, (_, what, _) in CALLS.items() if "has no argument" in what])
def test_an_argument_that_there_is_not_is_a_type_error_too(case):
    with pytest.raises(TypeError) as raised:
        CALLS[case][0]()
    assert isinstance(raised.value, ArgumentError)
    assert isinstance(raised.value, robench.SpecError)


def test_numbers_of_other_libraries_are_numbers(tmp_path):
    from robench.plan.request_values import checked

    given = Spec(
        eps=(np.float32(0.5), fractions.Fraction(1, 2), decimal.Decimal("0.5"), np.array(0.5), 0.5, "1/2"),
        seed=np.arange(2),
        n=np.int64(20),
        parameters={"attack.steps": np.int32(5), "dataset.test": np.float64(0.5), "attack.random_start": np.False_},
        baseline=np.True_,
    )
    found = checked(given)
    assert found.eps == (0.5, 0.5, 0.5, 0.5, 0.5, "1/2")
    assert (found.seed, found.n, found.baseline) == ((0, 1), 20, True)
    assert found.parameters == {"attack.steps": 5, "dataset.test": 0.5, "attack.random_start": False}
    assert {type(value) for value in (*found.eps[:5], *found.seed, found.n, *found.parameters.values())} == {
        float,
        int,
        bool,
    }
    assert checked(found) == found


def test_a_store_that_is_set_to_nothing_is_not_the_default(monkeypatch):
    monkeypatch.setenv("ROBENCH_STORE", "")
    with pytest.raises(
        robench.SpecError, match=r"ROBENCH_STORE is set, but empty; give it a folder, unset it .* store\."
    ):
        robench.run(n=20, device="cpu")


def test_the_arguments_that_are_known_are_those_that_there_are():
    from robench.plan.arguments import EVALUATE, PASSED_ON, RUN

    request = {entry.name for entry in dataclasses.fields(Spec)}
    assert set(RUN) == set(inspect.signature(robench.run).parameters) - {"spec", "request"}
    assert set(EVALUATE) == set(inspect.signature(robench.evaluate).parameters) - {"module", "options"}
    assert not set(PASSED_ON) & {*request, *EVALUATE}
