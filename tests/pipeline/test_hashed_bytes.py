"""What a run hashes: each image and each artifact once."""

from __future__ import annotations

import hashlib

import pytest
import torch

from robench.evidence import image_signatures, tensor_digests
from robench.evidence.store import Store
from robench.evidence.tensor_digests import digest
from robench.verify.stored_evidence import against_artifacts

from ..grey import grey

__all__ = ["grey"]


@pytest.fixture
def hashed(monkeypatch):
    """Return the images given to be hashed, by how many at a time, and the bytes of the tensors digested."""
    images, tensors = [], []
    of_images, of_tensor = image_signatures.image_hashes, tensor_digests.digest
    monkeypatch.setattr(image_signatures, "image_hashes", lambda given: images.append(len(given)) or of_images(given))
    monkeypatch.setattr(
        "robench.pipeline.stages.craft.digest", lambda given: tensors.append(given.nbytes) or of_tensor(given)
    )
    return images, tensors


def test_clean_images_are_hashed_once_for_all_defenses_and_adversarial_ones_as_a_set(grey, hashed):
    images, tensors = hashed
    grey.run(defense=["none", "scale", "scale[epochs=3]"], attack=["step", "steps"], gate="quick")
    clean, trained, sets = 44, 40, 6
    # Each of the two fits takes the signatures of what it is trained on.
    assert sum(images) == clean + 2 * trained
    assert sum(tensors) == sets * clean * 16 * 4


def test_answers_say_which_images_they_are_to(grey):
    card, *_ = grey.run(gate="quick")
    store = Store(grey.store)

    def findings(changed):
        class Source:
            def get(self, kind, key):
                found = store.get(kind, key)
                if found is not None and key == card.robust.artifact:
                    found.meta.update(changed)
                return found

        return {finding.what: finding for finding in against_artifacts(card, Source(), "here")}

    assert findings({})["adversarial set"].good
    assert store.get("outcomes", card.robust.artifact).meta["images"] == card.adversarial.fingerprint
    wrong = findings({"images": "0" * 64})["adversarial set"]
    assert (wrong.good, wrong.detail) == (False, "the stored answers are to other images than these")


def test_a_digest_is_of_shape_type_and_bytes():
    tensor = torch.arange(6, dtype=torch.float32).view(2, 3)
    assert (
        digest(tensor.t().contiguous().t())
        == hashlib.sha256(b"(2, 3) torch.float32" + tensor.numpy().tobytes()).hexdigest()
    )
