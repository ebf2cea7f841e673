"""Inputs that no command may take: each with the words that name it in the message, and the words that help.

``{0}`` is a folder of files made for it (:func:`make_files`).
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REAL = next((ROOT / "leaderboard" / "cards").glob("digits-tiny-clip-tecoa-pgd-Linf-4*"))

UNSET = "(an unset shell variable?)"

#: Every option with a value of every command; a test holds this table to the commands.
OPTIONS = {
    "run": "dataset* train-dataset victim* defense* attack* surrogate* certificate* eps* norm parameter* n seed* "
    "device batch-size protocol workers shard on gate gate-images gate-cost timeout store out fail-on keep-images "
    "label* rates without* precision",
    "curve": "dataset* train-dataset victim* defense* attack* surrogate* certificate* eps* norm parameter* label* n "
    "seed* device batch-size gate timeout store out bisect precision",
    "suites": "out without*",
    "published": "dataset victim defense attack surrogate source figure out",
    "predict": "victim captions* dataset attack eps parameter* size top out device without*",
    "list": "out without*",
    "inspect": "dataset victim n out device parameter* without*",
    "show": "depth dataset parameter* out without*",
    "data": "parameter* seed out without*",
    "plugins": "out without*",
    "protocol": "",
    "new": "into without*",
    "check-plugin": "parameter* victim out without*",
    "explain": "out",
    "audit": "dataset defense* attack* eps* norm n seed parameter* gate device store out",
    "verify": "store device parameter* attest by sample seed out",
    "bundle": "out store device",
    "break": "by out store device",
    "store": "",
    "train": "dataset seed parameter* device store out",
    "traps": "only* gate detectors* weights beside* out without*",
    "exam": "attack* only* out store without*",
    "leaderboard": "out changes require",
    "compare": "out",
    "export": "to out",
    "report": "out figures tables",
    "export-defense": "out store",
    "push": "to out",
    "doctor": "store out",
    "completion": "out",
    "submit": "to by store device",
}

#: What a command needs beside the option that is tried.
NEEDS = {
    "predict": "photo.jpg",
    "show": "pgd",
    "data": "digits",
    "new": "defense my-defense",
    "check-plugin": "pgd",
    "explain": "{0}/card.json",
    "audit": "tiny-clip",
    "verify": "{0}/card.json",
    "bundle": "{0}/card.json",
    "break": "{0}/card.json {0}/card.json",
    "train": "mlp",
    "leaderboard": "{0}/card.json",
    "compare": "{0}/card.json {0}/card.json",
    "export": "{0}/card.json",
    "report": "{0}/card.json",
    "export-defense": "{0}/card.json",
    "push": "{0}/card.json",
    "completion": "bash",
    "submit": "{0}/card.json",
}

#: A value of each option that is taken, so that only its being given twice is wrong.
GOOD = {
    "gate": "quick",
    "fail-on": "invalid",
    "n": "20",
    "seed": "1",
    "batch-size": "8",
    "workers": "2",
    "shard": "1/2",
    "rates": "{0}/card.json",
    "on": "parsl:config.py",
    "keep-images": "2",
    "gate-images": "5",
    "gate-cost": "1",
    "timeout": "60",
    "sample": "1",
    "require": "checked",
    "device": "cpu",
    "norm": "L2",
    "precision": "bf16",
    "bisect": "0.01",
}

#: Options that cannot be left out.
REQUIRED = (("export", "--to"), ("push", "--to"), ("bundle", "--out"), ("export-defense", "--out"))

Case = tuple[list[str], str, str]


def empty_and_doubled() -> dict[str, Case]:
    """Return each option of each command with no value, with a blank, and twice."""
    found: dict[str, Case] = {}
    for command, options in OPTIONS.items():
        start = [command, *NEEDS.get(command, "").split()]
        for entry in options.split():
            name = f"--{entry.rstrip('*')}"
            for title, value in (("empty", ""), ("blank", "  ")):
                out = f"give it a value{'' if (command, name) in REQUIRED else f', or leave {name} out'}."
                found[f"{command} {name} {title}"] = ([*start, name, value], f"{name} is empty {UNSET}", out)
            if not entry.endswith("*"):
                value = GOOD.get(name[2:], "x")
                words = [*start, name, value, name, value]
                found[f"{command} {name} twice"] = (words, f"{name} is given twice", "give it once.")
    return found


def arguments() -> dict[str, Case]:
    """Return each command whose argument is empty."""
    places = {command: words.split() for command, words in NEEDS.items()}
    places |= {"run": ["suite"], "list": ["attack"]}
    found: dict[str, Case] = {}
    for command, words in places.items():
        found[f"{command} empty argument"] = ([command, *words[:-1], ""], UNSET, "give it a value")
    return found


#: Words after ``robench`` -> what names the input, what helps.
LINES: dict[str, tuple[str, str]] = {}


def lines(*entries: tuple[str, str, str]) -> None:
    """Add command lines."""
    for words, what, out in entries:
        LINES[words] = (what, out)


WHOLE = "is no whole number of at most 18 digits; write one such as"
RADIUS = "Write a fraction such as 8/255 or a decimal such as 0.03."

TEXTS = ("some", "1.5", "1e3", "0x10", "1,000", "nan", "inf", "true", "None", "\uff19")  # the last is a wide 9
for number in (*TEXTS, "9" * 19, "9" * 30, "-" + "9" * 40):
    for command in ("run", "audit tiny-clip"):
        lines((f"{command} --n={number}", f"'{number[:57]}", WHOLE))
    lines((f"run --gate-images={number}", f"'{number[:57]}", WHOLE))
    lines((f"run --batch-size={number}", f"'{number[:57]}", WHOLE))
    lines((f"run --seed={number}", f"not '{number[:80]}'", "of at most 18 digits, such as --seed 0,1."))
    lines((f"train mlp --seed={number}", f"'{number[:57]}", WHOLE))
del LINES["run --seed=1,000"]  # two seeds, 1 and 0
for number in ("0", "-1", "-3"):
    for command in ("run", "audit tiny-clip"):
        lines((f"{command} --n={number}", f"--n {number} leaves no image to test on", "give at least 1"))
    lines((f"run --batch-size={number}", f"{number} is below 1", "write a whole number such as 64."))
    lines((f"run --workers={number}", f"{number} is below 1", "write a whole number such as 4."))
    lines((f"run --gate-images={number}", f"--gate-images {number} leaves the gate nothing to try", "give at least 1."))
for part in ("3", "8/", "/8", "a/8", "-1/8", "1/8/2", "auto/", "1/9999999"):
    lines((f"run --shard={part}", f"'{part}' names no part", "write --shard 3/8 for the third of eight"))
for part in ("0/8", "9/8", "1/0"):
    lines((f"run --shard={part}", f"--shard {part} is part", f"numbered from 1 to {part[2:]}; write --shard 3/8"))
lines(("run --shard=auto", "no scheduler says which part this is", "write --shard 3/8"))
for engine in ("dask:x.py", "parsl", "x.py", "parsl:"):
    lines((f"run --on={engine}", f"--on {engine} names no engine", "write --on parsl:CONFIG.py"))
lines(("run --on=parsl:gone.py", "there is no file gone.py", "write one that sets 'config'"))
for number in ("-1", "-17"):
    lines((f"run --seed={number}", f"not '{number}'", "write numbers from 0"))
    lines((f"run --seed=0,{number}", f"{number}'", "write numbers from 0"))
    lines((f"audit tiny-clip --seed={number}", f"--seed {number} is below 0", "give a whole number from 0"))
    lines((f"train mlp --seed={number}", f"--seed {number} is below 0", "give a whole number from 0"))
for number in ("0", "-1", "nan", "inf", "-inf", "1e400"):
    out = "give seconds above 0, such as 60" if number != "1e400" else "write one such as 60."
    lines((f"run --timeout={number}", f"{'--timeout ' * (number != '1e400')}", out))
    out = "give a number above 0, such as 1." if number != "1e400" else "write one such as 1."
    lines((f"run --gate-cost={number}", f"{'--gate-cost ' * (number != '1e400')}", out))
for number in ("ten", "1 s", "1/0", "1_0_", "--", "1h"):
    lines((f"run --timeout='{number}'", "'--timeout'", "is no finite number; write one such as 60."))
    lines((f"run --gate-cost='{number}'", "'--gate-cost'", "is no finite number; write one such as 1."))
for radius in ("big", "8/0", "nan", "inf", "8/255/2", "8,,16", "8/255px", "1e999"):
    for command in ("run", "audit tiny-clip"):
        place = "has an empty place between its commas" if ",," in radius else f"eps '{radius}' is not a number"
        lines((f"{command} --eps={radius}", place, "write name,name." if ",," in radius else RADIUS))
for radius in ("8", "255", "1.01"):
    lines((f"run --eps={radius}", f"eps {radius} is larger than the whole pixel range", f"write --eps {radius}/255."))
for radius in ("-1/255", "-0.1"):
    lines((f"run --eps={radius}", "is not a radius", "give a number of at least 0, such as 8/255."))
for device in ("gpu", "xla", "meta", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "mps:3", "0", "CUDA", "vulkan"):
    for command in ("run --n=20", "audit tiny-clip", "train mlp"):
        lines((f"{command} --device={device}", f"--device {device} is no device", "write cpu, cuda or cuda:0, mps,"))
for norm, hint in (("L3", ""), ("l1", "L1"), ("1", "L1"), ("l2", "L2"), ("linf", "Linf"), ("inf", "Linf")):
    hint = hint and f"did you mean '{hint}'?"
    for command in ("run", "audit tiny-clip"):
        lines(
            (
                f"{command} --norm={norm}",
                f"norm '{norm}' is unknown; {hint}",
                "choose Linf, L2, L1, L0, patch or corruption.",
            )
        )
for precision, hint in (("fp16", ""), ("fp32", "float32"), ("bfloat16", "bf16"), ("TF32", "tf32")):
    hint = hint and f"did you mean '{hint}'? "
    for command in ("run", "curve --eps 4/255"):
        lines(
            (
                f"{command} --precision={precision}",
                f"--precision '{precision}' is unknown; {hint}",
                "choose float32, tf32 or bf16.",
            )
        )
for gate in ("hard", "Quick", "0"):
    lines((f"run --gate={gate}", f"--gate {gate} is unknown", "Known: quick, standard, thorough."))
    lines((f"audit tiny-clip --gate={gate}", f"--gate {gate} is unknown", "Known: quick, standard, thorough."))

lines(
    # names
    ("run --defense tecao", "There is no defense 'tecao'", "did you mean 'tecoa'?"),
    ("run --defense none,tecao", "There is no defense 'tecao'", "did you mean 'tecoa'?"),
    ("run --defense --attack", "--defense is followed by --attack, which is an option", "give --defense a value, or"),
    ("run --n --offline", "--n is followed by --offline, which is an option", "give --n a value, or leave it out."),
    ("report {0}/card.json -o --tables", "--out is followed by --tables, which is an option", "give --out a value, or"),
    ("verify {0}/card.json --store --rerun", "--store is followed by --rerun", "give --store a value, or"),
    ("run --defense TECOA", "There is no defense 'TECOA'", "did you mean 'tecoa'?"),
    ("run --attack pdg", "There is no attack 'pdg'", "did you mean 'pgd'?"),
    ("run --attack pgd,pdg", "There is no attack 'pdg'", "did you mean 'pgd'?"),
    ("run --victim tinyclip", "There is no victim 'tinyclip'", "did you mean 'tiny-clip'?"),
    ("run --certificate crwon", "There is no certificate 'crwon'", "did you mean 'crown'?"),
    ("run --victim mlp --certificate crown --norm L1", "crown certifies in Linf and L2, not in L1", "L1"),
    ("run --victim mlp --certificate crown[bounds=x]", "crown has no parameter 'bounds'", "intermediate"),
    ("run --surrogate resnet-20", "There is no surrogate 'resnet-20'", "did you mean 'resnet20'?"),
    ("run --dataset cifar", "There is no dataset 'cifar'", "did you mean 'cifar10'?"),
    ("run --dataset digits,cifar1", "There is no dataset 'cifar1'", "did you mean 'cifar10'?"),
    ("run --train-dataset cifar1 --defense tecoa", "There is no dataset 'cifar1'", "did you mean 'cifar10'?"),
    ("run --train-dataset cifar10", "--train-dataset 'cifar10' is for what is trained", "name a defense that trains"),
    ("run --dataset digits[classes=0]", "digits.classes keeps the one class '0'", "keep at least two, such as 0,1."),
    ("run --dataset digits[classes=0,12]", "digits has the classes 0 to 9", "digits.classes asks for 12."),
    ("audit tinyclip", "There is no victim 'tinyclip'", "did you mean 'tiny-clip'?"),
    ("audit tiny-clip --attack pdg", "There is no attack 'pdg'", "did you mean 'pgd'?"),
    ("train pmlp", "There is no victim 'pmlp'", "did you mean 'mlp'?"),
    ("train mlp --dataset mnst", "There is no dataset 'mnst'", "did you mean 'mnist'?"),
    ("show pgdd", "There is no component 'pgdd'", "did you mean 'pgd'?"),
    ("show pgdd --layers", "There is no victim 'pgdd'", "Known: "),
    ("show mlp --depth 2", "--depth is for --layers", "add it, or leave --depth out."),
    ("show mlp --layers --depth 0", "0 is below 1", "write a whole number such as 3."),
    ("data digts", "There is no dataset 'digts'", "did you mean 'digits'?"),
    ("data digits -p dataset.balence=9", "digits has no parameter 'balence'", "Known: "),
    ("data digits --seed -1", "-1 is below 0", "write a whole number such as 0."),
    ("data digits -o {0}/file", "'{0}/file' is a file", "Try 'robench data --help'"),
    ("predict {0}/photo.jpg --saliency", "--saliency is drawn into the PNG", "name it with -o sheet.png"),
    ("export-defense {0}/card.json -o {0}/file", "'{0}/file' is a file", "Try 'robench export-defense --help'"),
    ("list attacks", "'attacks'", "'attack'"),
    ("new attacks x", "'attacks'", "'attack'"),
    ("new defense my/defense", "'my/defense' is no name for a Python project", "such as my-defense."),
    ("check-plugin pgdd", "There is no plugin, distribution or component 'pgdd'", "did you mean 'pgd'?"),
    ("check-plugin pgd --victim tinyclip", "There is no victim 'tinyclip'", "did you mean 'tiny-clip'?"),
    ("export {0}/card.json --to cvs", "There is no exporter 'cvs'", "did you mean 'csv'?"),
    ("completion powershell", "'powershell'", "'bash', 'zsh', 'fish'"),
    ("traps --only pgd-att", "pgd-att", "Known: "),
    ("exam --only liner", "no model 'liner'", "did you mean 'linear'?"),
    ("exam --attack pgdd", "There is no attack 'pgdd'", "did you mean 'pgd'?"),
    ("exam --attack torchattacks:PDG", "torchattacks has no attack 'PDG'", "did you mean"),
    ("exam --attack cw --only linear", "cw fits none of the models: cw works in L2", "climbs the same margin there."),
    ("exam --attack images:{0}", "images reads images that were made", "that makes some."),
    ("traps --weights -1", "'--weights'", "0<=x<=9999"),
    ("traps --beside {0}/card.json", "card.json holds no run of the traps", "robench traps --weights 1 --json > FILE"),
    ("traps --gate hard", "'hard'", "'quick', 'standard', 'thorough'"),
    ("traps --detectors ioef", "There is no detector 'ioef'", "did you mean 'ioaf'?"),
    ("traps --detectors ioaf[draws=3]", "draws", "images"),
    ("run --fail-on valid", "'valid'", "'suspect', 'invalid'"),
    ("run --without nonsense", "--without nonsense", "Known: "),
    ("lst", "'lst'", "list"),
    ("run --defence none", "--defence", "--defense"),
    ("run --epsilon 8/255", "--epsilon", "--eps"),
    ("run --batchsize 5", "--batchsize", "--batch-size"),
    ("run a.toml b.toml", "(b.toml)", "Try 'robench run --help' for help."),
    # references
    ("run --attack pgd[steps=5", "'pgd[steps=5' is no component", "name[parameter=value,...]."),
    ("run --attack pgd]", "'pgd]' is no component", "name[parameter=value,...]."),
    ("run --attack [steps=5]", "'[steps=5]' is no component", "name[parameter=value,...]."),
    ("run --attack pgd[]", "'pgd[]' has an empty place in its brackets", "write name[parameter=value,...]."),
    ("run --attack pgd[steps=5,]", "'pgd[steps=5,]' has an empty place", "write name[parameter=value,...]."),
    ("run --attack pgd[steps]", "'steps' in 'pgd[steps]' is no parameter", "write parameter=value."),
    ("run --attack pgd[steps=]", "'steps=' in 'pgd[steps=]' has no value", "give one, or leave the parameter out."),
    ("run --attack pgd[steps=5,steps=6]", "gives 'steps' twice, 5 and 6", "give it once."),
    ("run --attack pgd[stepz=5]", "pgd has no parameter 'stepz'", "did you mean 'steps'?"),
    ("run --attack pgd[steps=many]", "pgd.steps takes int, not 'many'", "(gradient steps from each start)."),
    ("run --attack pgd[steps=5.5]", "pgd.steps takes int, not '5.5'", "(gradient steps from each start)."),
    ("run --attack pgd[steps=0]", "must be at least 1, not 0", "(gradient steps from each start)."),
    ("run --attack pgd[step_size=0]", "pgd.step_size 0 does not move an image", "leave step_size out for"),
    ("run --attack pgd[random_start=maybe]", "pgd.random_start takes bool, not 'maybe'", "(start at a uniform draw"),
    ("run --attack pgd[target=any]", "takes untargeted | least-likely | random, not 'any'", "(class to move to: none,"),
    ("run --defense none,,tecoa", "'none,,tecoa' has an empty place between its commas", "write name,name."),
    ("run --defense none,", "'none,' has an empty place between its commas", "write name,name."),
    ("run --victim ,", "',' has an empty place between its commas", "write name,name."),
    ("run --seed 1,,2", "'1,,2' has an empty place between its commas", "write name,name."),
    ("run --without ,", "',' has an empty place between its commas", "write name,name."),
    # -p
    ("run -p steps=5", "-p steps=5 is no parameter", "write role.name=value, such as -p attack.steps=20."),
    ("run -p attack.steps", "-p attack.steps is no parameter", "write role.name=value"),
    ("run -p attack.=5", "-p attack.=5 is no parameter", "write role.name=value"),
    ("run -p .steps=5", "-p .steps=5 is no parameter", "write role.name=value"),
    ("run -p =", "-p = is no parameter", "write role.name=value"),
    ("run -p x=", "-p x= is no parameter", "write role.name=value"),
    ("run -p attack.steps=", "-p attack.steps= has no value", "leave -p attack.steps out for the default."),
    ("audit tiny-clip -p attack.steps=", "-p attack.steps= has no value", "leave -p attack.steps out for the default."),
    ("train mlp -p victim.hidden=", "-p victim.hidden= has no value", "leave -p victim.hidden out for the default."),
    ("check-plugin pgd -p attack.steps=", "-p attack.steps= has no value", "leave -p attack.steps out"),
    ("run -p attack.steps=1 -p attack.steps=2", "-p attack.steps is given twice, 1 and 2", "give it once."),
    ("train mlp -p victim.size=8 -p victim.size=8", "-p victim.size is given twice, 8 and 8", "give it once."),
    ("run -p attack.stepz=5", "pgd has no parameter 'stepz'", "did you mean 'steps'?"),
    ("run -p atack.steps=5", "-p atack.steps: this run has no atack", "did you mean 'attack'?"),
    ("run -p surrogate.x=5", "-p surrogate.x: this run has no surrogate", "Known: attack, certificate, dataset,"),
    ("run -p attack.steps=" + "9" * 5000, "pgd.steps takes int", "(gradient steps from each start)."),
    ("train mlp -p attack.steps=5", "-p attack.steps: robench train only trains a victim", "give parameters of the"),
    # what does not fit together
    ("run --dataset imagefolder", "The dataset 'imagefolder' has no usual victim", "name one with --victim."),
    ("run -p attack.step_size=8/255", "is not smaller than eps", "a step as large as the ball"),
    ("run --n 100000", "--n 100000 asks for more images than the test split of digits has (", "leave --n out for all."),
    ("run --n 999999999999999999 --dry-run", "--n 999999999999999999 asks for more images", "leave --n out for all."),
    ("train tiny-clip -p victim.epochs=0", "epochs", "at least"),
    # places
    ("run --n 20 --out {0}/file", "{0}/file cannot be written", "choose another folder with --out."),
    ("run --n 20 --out {0}/file/below", "{0}/file/below cannot be written", "choose another folder with --out."),
    ("run --n 20 --store {0}/file", "The store at {0}/file cannot be written", "choose another folder with --store;"),
    ("run --n 20 --store {0}/file --dry-run", "The store at {0}/file cannot be written", "with --store;"),
    ("train mlp --out {0}/file", "{0}/file cannot be written", "choose another folder with --out."),
    ("train mlp --store {0}/file --out {0}/new", "The store at {0}/file cannot be written", "with --store;"),
    ("report {0}/card.json --out {0}/file/x.html", "{0}/file cannot be written", "choose another folder with --out."),
    ("report {0}/card.json --out {0}/r.html --tables {0}/file/t", "{0}/file/t cannot be written", "with --tables."),
    ("report {0}/card.json --out {0}/folder", "File '{0}/folder' is a directory", "Try 'robench report --help'"),
    ("compare {0}/card.json {0}/card.json --out {0}/file/x", "{0}/file cannot be written", "with --out."),
    ("compare {0}/card.json {0}/folder", "No card in {0}/folder is of the test images of {0}/card.json", "."),
    ("compare {0}/folder {0}/card.json", "{0}/folder is a folder and the others are not all", "to compare with first."),
    ("compare {0}/card.json", "{0}/card.json alone has nothing to be compared with", "name two cards or two folders"),
    ("explain {0}/folder", "There are no cards in {0}/folder", "name card files or folders of them."),
    ("compare {0}/card.json {0}/gone", "{0}/gone does not exist", "name two cards or two folders of cards."),
    ("export {0}/card.json --to csv --out {0}/file/x", "{0}/file cannot be written", "with --out."),
    ("export {0}/folder --to csv", "There are no cards in {0}/folder", "give files or folders of robench run."),
    ("leaderboard {0}/card.json --out {0}/file", "{0}/file", "with --out."),
    ("exam --attack fgsm --out {0}/file/x", "{0}/file cannot be written", "with --out."),
    ("traps --only pgd-at --out {0}/file/x", "{0}/file cannot be written", "with --out."),
    ("list -o {0}/file/x", "{0}/file cannot be written", "choose another folder with --out."),
    ("explain {0}/card.json -o {0}/folder", "{0}/folder is a folder, where a file is to be", "name a file with --out."),
    ("run --n 20 -o -", "- is the standard output, and this command writes files", "and print the cards with --json."),
    ("train mlp -o -", "- is the standard output, and this command writes files", "such as -o my-model."),
    ("data digits -o -", "- is the standard output, and this command writes files", "such as -o pictures."),
    ("new defense my-defense -o -", "- is the standard output, and this command", "such as -o my-defense."),
    ("submit {0}/card.json -o -", "- is the standard output, and this", "such as -o leaderboard/cards."),
    ("break {0}/card.json {0}/card.json -o -", "- is the standard output, and this", "such as -o results."),
    ("compare {0}/card.json {0}/card.json --json -o -", "Both --json and -o - write to the", "name a file with -o."),
    ("traps --json -o -", "Both --json and -o - write to the standard output", "name a file with -o."),
    ("predict {0}/card.json --json -o -", "Both --json and -o - write to the", "name a file with -o."),
    ("leaderboard {0}/card.json --check -o -", "--check compares pages in a folder", "name the folder."),
    ("run --limit 0", "--n 0 leaves no image to test on", "give at least 1"),
    ("run --limit=some", "'some'", WHOLE),
    ("run --limit 5 --n 6", "--n is given twice", "give it once."),
    ("submit {0}/card.json --to {0}/gone", "There is no folder {0}/gone", "name its folder of cards with --to."),
    ("new defense my-defense --into {0}/folder", "{0}/folder is there already and is not empty", "--into DIR."),
    ("run {0}/gone.toml", "suite {0}/gone.toml cannot be read", "or suite:NAME (robench suites lists them)."),
    ("run {0}/folder", "{0}/folder is a folder, not a suite", "or suite:NAME (robench suites lists them)."),
    ("run {0}/pipe", "{0}/pipe is a pipe or a device, not a suite", "or suite:NAME (robench suites lists them)."),
    ("run /dev/zero", "/dev/zero is a pipe or a device, not a suite", "or suite:NAME (robench suites lists them)."),
    ("run {0}/huge", "a suite has at most 1,000,000", "or suite:NAME (robench suites lists them)."),
    # weights and images
    ("run --n 20 --victim file:{0}/gone.py:build", "{0}/gone.py", "with one that exists."),
    ("run --n 20 --victim {0}/net.py", "does not say what in it is the model", "write {0}/net.py:NAME."),
    ("run --n 20 --victim {0}/net.py:bild", "{0}/net.py has no 'bild'", "it has "),
    ("run --n 20 --victim {0}/net.py:number", "{0}/net.py:number is no model", "robench needs a torch.nn.Module"),
    ("run --n 20 --victim {0}/broken.py:build", "{0}/broken.py is not Python", "line 1"),
    ("run --n 20 --victim {0}/leaves.py:build", "{0}/leaves.py:build raised SystemExit: 0", "line 1"),
    ("run --n 20 --victim torchscript:{0}/gone.pt", "found no file at {0}/gone.pt", "with one that exists."),
    ("run --n 20 --victim torchscript:{0}/text", "{0}/text is no TorchScript program", "torch.jit.save writes one."),
    ("run --n 20 --victim torchscript:{0}/folder", "found no file at {0}/folder", "with one that exists."),
    ("run --n 20 --victim export:{0}/text", "{0}/text is no torch.export program", "not a file that torch wrote"),
    ("run --n 20 --victim export:{0}/gone", "found no file at {0}/gone", "with one that exists."),
    ("run --n 20 --victim hf-dir:{0}/gone", "{0}/gone is no folder", "name the folder that save_pretrained wrote"),
    ("run --n 20 --victim hf-dir:{0}/folder", "{0}/folder holds no config.json", "that save_pretrained wrote"),
    ("run --n 20 --victim hf-dir:/", "/ is the root of the file system", "name the folder itself."),
    ("run --n 20 --victim tiny-clip -p victim.checkpoint={0}/gone", "{0}/gone holds no checkpoint", "robench train"),
    ("run --n 20 --victim resnet20 -p victim.checkpoint={0}/text", "{0}/text cannot be read", "a .safetensors file or"),
    ("run --n 20 --victim resnet20 -p victim.checkpoint={0}/cut.safetensors", "cut.safetensors cannot", ".safetensors"),
    ("run --n 20 --dataset mnist -p dataset.path={0}/gone --victim mlp", "not in {0}/gone", "-p dataset.path=DIR."),
    ("run --n 20 --dataset mnist -p dataset.path={0}/bad.npz --victim mlp", "from {0}/bad.npz", "must be an .npz file"),
    ("run --n 20 --dataset folder:{0}/gone --victim tiny-clip", "{0}/gone", "pass -p dataset.path=DIR"),
    ("run --n 20 --dataset folder:{0}/folder --victim tiny-clip", "{0}/folder has no class folders", "one subfolder"),
)  # fmt: skip

#: Suites -> what names the mistake, and what helps.
SUITES: dict[str, tuple[str, str]] = {
    "n = ": ("is not TOML: Invalid value", "mend that place."),
    "n = 1\nn = 2": ("is not TOML: Cannot overwrite a value", "mend that place."),
    "[parameters]\nattack.steps = 1\nattack.steps = 2": ("is not TOML: Cannot overwrite a value", "mend that place."),
    "[parameters]\n[parameters]": ("is not TOML: Cannot declare ('parameters',) twice", "mend that place."),
    'dataset = "C:\\photos"': ("is not TOML: ", "(a path with a backslash stands between single quotes)"),
    "atack = 1": ("'atack' is no key of a run", "did you mean 'attack'?"),
    'epsilon = "8/255"': ("'epsilon' is no key of a run", "Known: attack,"),
    "title = 5": ("title must be text, not 5", "."),
    "description = []": ("description must be text, not []", "."),
    "n = 0": ("--n 0 leaves no image to test on", "give at least 1"),
    "n = -5": ("--n -5 leaves no image to test on", "give at least 1"),
    "n = 1.5": ("n must be a whole number, not 1.5", "."),
    "n = true": ("n must be a whole number, not True", "."),
    "n = [5]": ("n must be a whole number, not [5]", "."),
    f"n = {'9' * 30}": ("has more than the 18 digits that a card holds", "give a whole number from 1"),
    f"n = {'9' * 5000}": ("is not TOML: Exceeds the limit", "mend that place."),
    "seed = -1": ("--seed -1 is below 0", "give a whole number from 0"),
    f"seed = {'9' * 19}": ("has more than the 18 digits that a card holds", "give a whole number from 0"),
    "seed = 0.5": ("seed must be a whole number, not 0.5", "."),
    "seed = true": ("seed must be a whole number, not True", "."),
    "seed = []": ("No seed is named", "give at least one with --seed."),
    "eps = []": ("No eps is named", "give at least one with --eps."),
    "attack = []": ("No attack is named", "give at least one with --attack."),
    "eps = nan": ("--eps nan is no finite number", "write a fraction such as '8/255'"),
    "eps = inf": ("--eps inf is no finite number", "write a fraction such as '8/255'"),
    "eps = 8": ("eps 8 is larger than the whole pixel range", "write --eps 8/255."),
    "eps = true": ("eps must be a number, not True", "."),
    "eps = 1979-05-27": ("eps must be a number, not datetime.date(1979, 5, 27)", "."),
    'eps = ""': ("eps is empty", "give it a value, or leave the key out."),
    'dataset = ""': ("dataset is empty", "give it a value, or leave the key out."),
    'attack = [""]': ("attack is empty", "give it a value, or leave the key out."),
    'defense = ["none", " "]': ("defense is empty", "give it a value, or leave the key out."),
    'norm = ""': ("norm is empty", "give it a value, or leave the key out."),
    'norm = "l2"': ("norm 'l2' is unknown; did you mean 'L2'?", "choose Linf, L2, L1, L0, patch or corruption."),
    'precision = "half"': ("--precision 'half' is unknown", "choose float32, tf32 or bf16."),
    "precision = 16": ("precision must be text, not 16", "."),
    "norm = 2": ("norm must be text, not 2", "."),
    'baseline = "no"': ("baseline must be true or false, not 'no'", "."),
    "baseline = 1": ("baseline must be true or false, not 1", "."),
    "parameters = 5": ("parameters is a table", "such as [parameters] with attack.steps = 20."),
    "[parameters]\nsteps = 5": ("parameter 'steps' names no component", "write role.parameter = value."),
    "[parameters]\nattack.steps = [5]": ("-p attack.steps takes text, a number", "not [5]."),
    "[parameters]\nattack.steps = {x = 1}": ("-p attack.steps takes text, a number", "not {'x': 1}."),
    "[parameters]\nattack.steps = 1979-05-27": ("-p attack.steps takes text, a number", "datetime.date(1979, 5, 27)."),
    "[parameters]\nattack.steps = true": ("pgd.steps takes int, not 'True'", "(gradient steps"),
    "[parameters]\nattack.steps = nan": ("pgd.steps takes int, not 'nan'", "(gradient steps"),
    "[parameters]\natack.steps = 5": ("-p atack.steps: this run has no atack", "did you mean 'attack'?"),
    'victim = "tinyclip"': ("There is no victim 'tinyclip'", "did you mean 'tiny-clip'?"),
    'attack = "pgd[steps=]"': ("'steps=' in 'pgd[steps=]' has no value", "give one, or leave the parameter out."),
    "run = []": ("write each run", "as a [[run]] table."),
    "run = 5": ("write each run", "as a [[run]] table."),
    "published = 5": ("write each published row", "as a [[published]] table."),
}

#: Commands on one file, each in the place of a card.
CARD_COMMANDS = {
    "explain": "explain {0}",
    "verify": "verify {0}",
    "leaderboard": "leaderboard {0} -o {1}",
    "compare": "compare {0} {2}",
    "submit": "submit {0} --to {1}",
    "bundle": "bundle {0} -o {1}/card.zip",
    "export": "export {0} --to csv",
    "report": "report {0} -o {1}/report.html",
}

#: Files that are no card -> what names the mistake. Their names are in every message.
NOT_CARDS = {
    "gone.json": "cannot be read (No such file or directory)",
    "pipe": "is a pipe or a device, not a card",
    "empty.json": "is not a robench card",
    "binary.json": "is not a robench card",
    "list.json": "schema",
    "seed.json": "at cell.seed",
    "counts.json": "contradicts itself",
    "training.json": "training",
}


def make_files(folder: Path) -> None:
    """Write the files that the tables name."""
    card = json.loads(REAL.read_text(encoding="utf-8"))
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / "file").write_text("in the way", encoding="utf-8")
    (folder / "text").write_text("not weights", encoding="utf-8")
    (folder / "folder").mkdir()
    (folder / "folder" / "notes.txt").write_text("x", encoding="utf-8")
    os.mkfifo(folder / "pipe")
    (folder / "huge").write_bytes(b"#" * 1_000_001)
    (folder / "net.py").write_text("number = 5\ndef build():\n    return 5\n", encoding="utf-8")
    (folder / "broken.py").write_text("def build(:\n", encoding="utf-8")
    (folder / "leaves.py").write_text("raise SystemExit(0)\n", encoding="utf-8")
    (folder / "cut.safetensors").write_bytes(struct.pack("<Q", 500) + b'{"a":')
    with zipfile.ZipFile(folder / "bad.npz", "w") as archive:
        archive.writestr("x_test.npy", b"not numpy")
    (folder / "empty.json").write_bytes(b"")
    (folder / "binary.json").write_bytes(bytes(range(256)))
    (folder / "list.json").write_text("[]", encoding="utf-8")
    wrong = json.loads(json.dumps(card))
    wrong["cell"]["seed"] = "zero"
    (folder / "seed.json").write_text(json.dumps(wrong), encoding="utf-8")
    wrong = json.loads(json.dumps(card))
    wrong["robust"]["correct"] += 1
    (folder / "counts.json").write_text(json.dumps(wrong), encoding="utf-8")
    (folder / "training.json").write_text(json.dumps({"kind": "training"}), encoding="utf-8")
