"""The components that come with robench, through the same door as anybody's plugin."""

from __future__ import annotations

from robench import Attack, Certificate, Dataset, Defense, Model, hookimpl
from robench_exports import robench_exporters as robench_exporters
from robench_traps import robench_detectors as robench_detectors

ROBENCH_API = 1


@hookimpl
def robench_datasets() -> list[type[Dataset]]:
    """Offer the built-in datasets."""
    from robench_builtins.datasets.cifar10 import Cifar10
    from robench_builtins.datasets.cifar100 import Cifar100
    from robench_builtins.datasets.coop import Coop
    from robench_builtins.datasets.digits import Digits
    from robench_builtins.datasets.flickr import Flickr
    from robench_builtins.datasets.hateful_memes import HatefulMemes
    from robench_builtins.datasets.hf import Hf
    from robench_builtins.datasets.imagefolder import ImageFolder
    from robench_builtins.datasets.imagenet import ImageNet
    from robench_builtins.datasets.imagenet_variants import VARIANTS
    from robench_builtins.datasets.mnist import FashionMnist, Mnist
    from robench_builtins.datasets.npz import Npz
    from robench_builtins.datasets.plantvillage import PlantVillage
    from robench_builtins.datasets.tiny_imagenet import TinyImageNet
    from robench_builtins.datasets.torchvision_sets import SETS
    from robench_builtins.datasets.wds import Wds
    from robench_builtins.datasets.whole_sets import WHOLE_SETS

    published = [Cifar10, Cifar100, Coop, Digits, FashionMnist, Flickr, HatefulMemes, ImageNet, Mnist, PlantVillage]
    return [*published, TinyImageNet, *SETS, *VARIANTS, *WHOLE_SETS, Hf, ImageFolder, Npz, Wds]


@hookimpl
def robench_victims() -> list[type[Model]]:
    """Offer the built-in victims."""
    from robench_builtins.models.clip_rn50 import ClipRN50
    from robench_builtins.models.clip_vit_b16 import ClipVitB16
    from robench_builtins.models.clip_vit_b32 import ClipVitB32
    from robench_builtins.models.clip_vit_l14 import ClipVitL14
    from robench_builtins.models.export import Exported
    from robench_builtins.models.file import PythonFile
    from robench_builtins.models.hf import HuggingFace
    from robench_builtins.models.hf_dir import HfDir
    from robench_builtins.models.inception_v3 import InceptionV3
    from robench_builtins.models.mlp import Linear, Mlp
    from robench_builtins.models.open_clip import OpenClip
    from robench_builtins.models.plant_vit import PlantViT
    from robench_builtins.models.resnet20 import ResNet20, ResNet32, ResNet44, ResNet56
    from robench_builtins.models.robustbench import RobustBench
    from robench_builtins.models.small_cnn import SmallCnn
    from robench_builtins.models.timm import Timm
    from robench_builtins.models.tiny_clip import TinyClip
    from robench_builtins.models.torchscript import TorchScript
    from robench_builtins.models.torchvision import Torchvision

    clips = [ClipRN50, ClipVitB16, ClipVitB32, ClipVitL14, OpenClip, TinyClip]
    resnets = [ResNet20, ResNet32, ResNet44, ResNet56]
    small = [InceptionV3, Linear, Mlp, PlantViT, SmallCnn]
    external = [Exported, HfDir, HuggingFace, PythonFile, RobustBench, Timm, TorchScript, Torchvision]
    return [*clips, *resnets, *small, *external]


@hookimpl
def robench_surrogates() -> list[type[Model]]:
    """Offer the same models, and several as one; ``self``, the undefended victim, is the harness's own."""
    from robench_builtins.models.ensemble import Ensemble

    return [*robench_victims(), Ensemble]


@hookimpl
def robench_attacks() -> list[type[Attack]]:
    """Offer the built-in attacks."""
    from robench_builtins.attacks.apgd import APGD
    from robench_builtins.attacks.art import ART
    from robench_builtins.attacks.autoattack import AutoAttack
    from robench_builtins.attacks.corruption import Corruption
    from robench_builtins.attacks.cw import CW
    from robench_builtins.attacks.di_fgsm import DIFGSM
    from robench_builtins.attacks.fab import FAB
    from robench_builtins.attacks.fgsm import FGSM
    from robench_builtins.attacks.foolbox import Foolbox
    from robench_builtins.attacks.gaussian_noise import GaussianNoise
    from robench_builtins.attacks.images import Images
    from robench_builtins.attacks.mi_fgsm import MIFGSM
    from robench_builtins.attacks.ni_fgsm import NIFGSM
    from robench_builtins.attacks.noise import Noise
    from robench_builtins.attacks.patch import Patch
    from robench_builtins.attacks.patch_rs import PatchRS
    from robench_builtins.attacks.pgd import PGD
    from robench_builtins.attacks.pgd_targeted import TargetedPGD
    from robench_builtins.attacks.sparse_rs import SparseRS
    from robench_builtins.attacks.square import Square
    from robench_builtins.attacks.ti_fgsm import TIFGSM
    from robench_builtins.attacks.torchattacks import Torchattacks
    from robench_builtins.attacks.universal import Universal
    from robench_builtins.attacks.vmi_fgsm import VMIFGSM

    return [
        APGD,
        ART,
        AutoAttack,
        Foolbox,
        Torchattacks,
        Corruption,
        CW,
        DIFGSM,
        FAB,
        FGSM,
        GaussianNoise,
        Images,
        MIFGSM,
        NIFGSM,
        Noise,
        Patch,
        PatchRS,
        PGD,
        SparseRS,
        Square,
        TargetedPGD,
        TIFGSM,
        Universal,
        VMIFGSM,
    ]


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
    from robench_builtins.defenses.smoothing import Smoothing
    from robench_builtins.defenses.tecoa import Tecoa
    from robench_builtins.defenses.trades import TradesAT
    from robench_builtins.defenses.ttc import TTC
    from robench_builtins.defenses.vpt import VPT

    trained = [AdvFinetune, Fare, FgsmAT, Gaussian, LoraCE, PgdAT, PmgAFT, Smoothing, Tecoa, TradesAT, VPT]
    return [*trained, TTC, Undefended]


@hookimpl
def robench_certificates() -> list[type[Certificate]]:
    """Offer the built-in certificates."""
    from robench_builtins.certificates.crown import CROWN
    from robench_builtins.certificates.interval import Interval
    from robench_builtins.certificates.randomized_smoothing import RandomizedSmoothing

    return [CROWN, Interval, RandomizedSmoothing]
