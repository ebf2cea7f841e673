"""What robench writes of tensors is, byte for byte, the library's own file."""

from __future__ import annotations

import io

import pytest
import torch
from safetensors.torch import load, save

from robench.evidence import tensor_file

TENSORS = {
    "b": torch.rand(3, 4),
    "a": torch.arange(5),
    "no axis": torch.tensor(3.5),
    "empty": torch.empty(0, 3),
    "truth": torch.tensor([True, False, True]),
    "half": torch.rand(2, 2).half(),
    "brain": torch.rand(7).bfloat16(),
    "eighth": torch.rand(3).to(torch.float8_e4m3fn),
    "complex": torch.rand(3, dtype=torch.complex64),
    "double": torch.tensor([float("nan"), -0.0], dtype=torch.float64),
    "transposed": torch.rand(4, 6).T,
    "größe": torch.randint(0, 256, (5,), dtype=torch.uint8),
}


def same(one, other):
    """Tell whether two tensors are of one type and shape, and equal bit by bit."""
    raw = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)]
    return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(*raw)


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        (TENSORS, {"kind": "craft"}),
        (TENSORS, {}),
        ({}, {"kind": "craft"}),  # without either the library's own file is broken
        ({"x": torch.zeros(2**18 + 3, dtype=torch.uint8)}, {"key": "größe"}),
    ],
)
def test_the_parts_are_what_the_library_writes(tensors, metadata):
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    content = b"".join(tensor_file.parts(tensors, metadata))
    assert content == save(plain, metadata)
    read = tensor_file.read(io.BytesIO(content))
    assert read.keys() == tensors.keys()
    assert all(same(read[name], tensor) for name, tensor in tensors.items())


def test_what_is_written_is_the_same_every_time():
    metadata = {name: name for name in "abcdefgh"}
    first, *others = (b"".join(tensor_file.parts(TENSORS, metadata)) for _ in range(20))
    assert {*others} == {first}
    assert load(first).keys() == TENSORS.keys()


def test_tensors_are_not_copied():
    tensor = torch.zeros(4)
    parts = tensor_file.parts({"x": tensor}, {})
    tensor.fill_(1.0)
    assert load(b"".join(parts))["x"].tolist() == [1.0] * 4


def test_weights_that_share_their_memory_are_written_each():
    weight = torch.rand(3, 3)
    read = tensor_file.read(io.BytesIO(b"".join(tensor_file.parts({"one": weight, "tied": weight}, {}))))
    assert torch.equal(read["one"], weight)
    assert torch.equal(read["tied"], weight)


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (0, 9), (2, 4), (3, 3), (4, 8), (8, 20), (9, 12)])
def test_a_part_of_what_lies_one_behind_another_is_cut_out(start, stop):
    content = [memoryview(part) for part in (b"abc", b"", b"de", b"fghi")]
    assert b"".join(tensor_file.cut(content, start, stop)) == b"abcdefghi"[start:stop]


def test_a_file_whose_tensors_are_not_what_its_header_says_is_refused():
    content = b"".join(tensor_file.parts({"x": torch.rand(100)}, {}))
    for wrong, said in (
        (content[:-1], "its tensors end too early"),
        (content + b"0", "it goes on after its tensors"),
        (content.replace(b"[100]", b"[999]"), "its tensor x does not lie where its header says"),
        (content.replace(b"[0,400]", b"[4,404]"), "its tensor x does not lie where its header says"),
    ):
        with pytest.raises(ValueError, match=said):
            tensor_file.read(io.BytesIO(wrong))
