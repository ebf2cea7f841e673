"""Measure how robust image classifiers and CLIP models are, what each defense buys, and what it costs.

Everything a plugin needs is ``from robench import ...``. Names that need torch are loaded on first use, so
``import robench`` is instant. What is loaded, stored, computed and waited for is logged under
``logging.getLogger("robench")``, which shows nothing unless it is asked to.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robench.api import CellsFailed as CellsFailed
    from robench.api import evaluate as evaluate
    from robench.api import leaderboard as leaderboard
    from robench.api import run as run
    from robench.api.results import Results as Results
    from robench.attacks import attack_sources as attack_sources
    from robench.attacks.apgd import apgd as apgd
    from robench.attacks.autoattack import autoattack as autoattack
    from robench.attacks.fab import fab as fab
    from robench.attacks.noise import noise as noise
    from robench.attacks.patch import patch as patch
    from robench.attacks.patch_rs import patch_rs as patch_rs
    from robench.attacks.sparse_rs import sparse_rs as sparse_rs
    from robench.attacks.square import square as square
    from robench.bounds.linear_bounds import certified as certified
    from robench.contracts.adaptive import straight_through as straight_through
    from robench.contracts.asked_in_parts import logits_of as logits_of
    from robench.contracts.certificate import Certificate as Certificate
    from robench.contracts.classifier import Classifier as Classifier
    from robench.contracts.classifier import Preprocess as Preprocess
    from robench.contracts.classifier import ZeroShotClassifier as ZeroShotClassifier
    from robench.contracts.classifier import input_gradient as input_gradient
    from robench.contracts.components import Attack as Attack
    from robench.contracts.components import Dataset as Dataset
    from robench.contracts.components import Defense as Defense
    from robench.contracts.components import Exporter as Exporter
    from robench.contracts.components import Model as Model
    from robench.contracts.components import Split as Split
    from robench.contracts.detector import Detector as Detector
    from robench.contracts.detector import Evaluated as Evaluated
    from robench.contracts.examples import Batch as Batch
    from robench.contracts.examples import Examples as Examples
    from robench.contracts.global_generators import seeded_globally as seeded_globally
    from robench.contracts.image_files import StoredImage as StoredImage
    from robench.contracts.image_files import decode_image as decode_image
    from robench.contracts.image_files import describe_image as describe_image
    from robench.contracts.image_files import image_suffixes as image_suffixes
    from robench.contracts.image_files import to_uint8 as to_uint8
    from robench.contracts.image_resize import Resize as Resize
    from robench.contracts.parameters import Value as Value
    from robench.contracts.parameters import parameter as parameter
    from robench.contracts.task import Task as Task
    from robench.contracts.threat_model import Norm as Norm
    from robench.contracts.threat_model import ThreatModel as ThreatModel
    from robench.contracts.threat_model import parse_eps as parse_eps
    from robench.contracts.trap import Control as Control
    from robench.contracts.trap import Trap as Trap
    from robench.errors import ArgumentError as ArgumentError
    from robench.errors import CardError as CardError
    from robench.errors import ContractError as ContractError
    from robench.errors import DataError as DataError
    from robench.errors import DeviceError as DeviceError
    from robench.errors import PluginError as PluginError
    from robench.errors import RobenchError as RobenchError
    from robench.errors import SpecError as SpecError
    from robench.errors import StoreError as StoreError
    from robench.errors import WeightsError as WeightsError
    from robench.evidence.card import Card as Card
    from robench.pipeline.load_test import load_test as load_test
    from robench.plugin.hookspecs import hookimpl as hookimpl
    from robench.plugin.versions import API_VERSION as API_VERSION

logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOME = {
    "API_VERSION": "plugin.versions",
    "ArgumentError": "errors",
    "Attack": "contracts.components",
    "Batch": "contracts.examples",
    "Card": "evidence.card",
    "CardError": "errors",
    "CellsFailed": "api",
    "Certificate": "contracts.certificate",
    "Classifier": "contracts.classifier",
    "ContractError": "errors",
    "Control": "contracts.trap",
    "DataError": "errors",
    "Dataset": "contracts.components",
    "Defense": "contracts.components",
    "Detector": "contracts.detector",
    "DeviceError": "errors",
    "Evaluated": "contracts.detector",
    "Examples": "contracts.examples",
    "Exporter": "contracts.components",
    "Model": "contracts.components",
    "Norm": "contracts.threat_model",
    "PluginError": "errors",
    "Preprocess": "contracts.classifier",
    "Resize": "contracts.image_resize",
    "Results": "api.results",
    "RobenchError": "errors",
    "SpecError": "errors",
    "Split": "contracts.components",
    "StoreError": "errors",
    "StoredImage": "contracts.image_files",
    "Task": "contracts.task",
    "ThreatModel": "contracts.threat_model",
    "Trap": "contracts.trap",
    "Value": "contracts.parameters",
    "WeightsError": "errors",
    "ZeroShotClassifier": "contracts.classifier",
    "apgd": "attacks.apgd",
    "attack_sources": "attacks",
    "autoattack": "attacks.autoattack",
    "certified": "bounds.linear_bounds",
    "decode_image": "contracts.image_files",
    "describe_image": "contracts.image_files",
    "evaluate": "api",
    "fab": "attacks.fab",
    "hookimpl": "plugin.hookspecs",
    "image_suffixes": "contracts.image_files",
    "input_gradient": "contracts.classifier",
    "noise": "attacks.noise",
    "leaderboard": "api",
    "load_test": "pipeline.load_test",
    "logits_of": "contracts.asked_in_parts",
    "parameter": "contracts.parameters",
    "parse_eps": "contracts.threat_model",
    "patch": "attacks.patch",
    "patch_rs": "attacks.patch_rs",
    "run": "api",
    "seeded_globally": "contracts.global_generators",
    "sparse_rs": "attacks.sparse_rs",
    "square": "attacks.square",
    "straight_through": "contracts.adaptive",
    "to_uint8": "contracts.image_files",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("robench")
    if name not in _HOME:
        from robench.plugin.deprecation import RENAMED, warn_deprecated

        if name in RENAMED:
            new, since = RENAMED[name]
            warn_deprecated(f"robench.{name}", f"robench.{new}", since)
            return __getattr__(new)
        raise AttributeError(f"module 'robench' has no attribute '{name}'")
    value = getattr(import_module(f"robench.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
