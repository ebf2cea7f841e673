"""The components that come with robench, through the same door as anybody's plugin."""

from __future__ import annotations

from robench import Attack, Dataset, Defense, Model, hookimpl
from robench_exports import robench_exporters as robench_exporters

ROBENCH_API = 1


@hookimpl
def robench_datasets() -> list[type[Dataset]]:
    """Offer the built-in datasets."""
    from robench_builtins.datasets.cifar10 import Cifar10
    from robench_builtins.datasets.digits import Digits
    from robench_builtins.datasets.imagefolder import ImageFolder

    return [Cifar10, Digits, ImageFolder]


@hookimpl
def robench_victims() -> list[type[Model]]:
    """Offer the built-in victims."""
    from robench_builtins.models.clip_vit_b32 import ClipVitB32
    from robench_builtins.models.exported import Exported
    from robench_builtins.models.hf_dir import HfDir
    from robench_builtins.models.python_file import PythonFile
    from robench_builtins.models.resnet20 import ResNet20
    from robench_builtins.models.tiny_clip import TinyClip
    from robench_builtins.models.torchscript import TorchScript

    return [ClipVitB32, Exported, HfDir, PythonFile, ResNet20, TinyClip, TorchScript]


@hookimpl
def robench_surrogates() -> list[type[Model]]:
    """Offer the same models as surrogates; ``self``, the undefended victim, is the harness's own."""
    return robench_victims()


@hookimpl
def robench_attacks() -> list[type[Attack]]:
    """Offer the built-in attacks."""
    from robench_builtins.attacks.apgd import APGD
    from robench_builtins.attacks.autoattack import AutoAttack
    from robench_builtins.attacks.fab import FAB
    from robench_builtins.attacks.fgsm import FGSM
    from robench_builtins.attacks.noise import Noise
    from robench_builtins.attacks.pgd import PGD
    from robench_builtins.attacks.square import Square

    return [APGD, AutoAttack, FAB, FGSM, Noise, PGD, Square]


@hookimpl
def robench_defenses() -> list[type[Defense]]:
    """Offer the built-in defenses."""
    from robench_builtins.defenses.adv_finetune import AdvFinetune
    from robench_builtins.defenses.fare import Fare
    from robench_builtins.defenses.fgsm_at import FgsmAT
    from robench_builtins.defenses.gaussian import Gaussian
    from robench_builtins.defenses.lora_ce import LoraCE
    from robench_builtins.defenses.none import Undefended
    from robench_builtins.defenses.pgd_at import PgdAT
    from robench_builtins.defenses.pmg_aft import PmgAFT
    from robench_builtins.defenses.tecoa import Tecoa
    from robench_builtins.defenses.trades import TradesAT
    from robench_builtins.defenses.ttc import TTC
    from robench_builtins.defenses.vpt import VPT

    return [AdvFinetune, Fare, FgsmAT, Gaussian, LoraCE, PgdAT, PmgAFT, Tecoa, TradesAT, TTC, Undefended, VPT]
