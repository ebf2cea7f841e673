"""A safetensors file part by part, without a copy of what it holds: one of adversarial images has 154 MB at 224 px.

The library writes and reads whole files and names the types; what it would write and this one does are the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

#: Bytes of the number that says how long the header is; headers are filled up to a multiple of it.
_NUMBER = 8
#: Bytes that are read at once, since a compressed file makes a copy of them.
_AT_ONCE = 2**18
_METADATA = "__metadata__"


def parts(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> list[memoryview]:
    """Return what makes up the file, one behind another: its header, and the tensors' own bytes."""
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # The library's header of tensors without content: names in its order, with its words for the types.
    header = json.loads(save({name: tensor.new_empty(0) for name, tensor in plain.items()}, dict(metadata))[_NUMBER:])
    found, end = [memoryview(b"")], 0
    for name, entry in header.items():
        if name == _METADATA:
            header[name] = dict(metadata)  # the library's own order is another one each time
        else:
            begin, end = end, end + plain[name].nbytes
            entry |= {"shape": [*plain[name].shape], "data_offsets": [begin, end]}
            found.append(_bytes_of(plain[name]))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _NUMBER)
    found[0] = memoryview(len(text).to_bytes(_NUMBER, "little") + text)
    return found


def cut(content: Sequence[memoryview], start: int, stop: int) -> Iterator[memoryview]:
    """Yield the bytes from ``start`` to ``stop`` of what lies one behind another in ``content``."""
    for part in content:
        if start < len(part) and stop > 0:
            yield part[max(start, 0) : stop]
        start, stop = start - len(part), stop - len(part)


def read(file: Any) -> dict[str, Tensor]:
    """Return the tensors in an open binary file, on the CPU; ValueError where it is no such file."""
    import torch
    from safetensors.torch import load

    entries = json.loads(file.read(int.from_bytes(file.read(_NUMBER), "little")))
    entries.pop(_METADATA, None)
    nothing = json.dumps({name: entry | {"shape": [0], "data_offsets": [0, 0]} for name, entry in entries.items()})
    typed = load(len(nothing.encode()).to_bytes(_NUMBER, "little") + nothing.encode())
    found, end = {}, 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = end, end + math.prod(entry["shape"]) * typed[name].itemsize
        if entry["data_offsets"] != [begin, end]:
            raise ValueError(f"its tensor {name[:80]} does not lie where its header says")
        found[name] = torch.empty(entry["shape"], dtype=typed[name].dtype)
        room = _bytes_of(found[name])
        while len(room):
            count = file.readinto(room[:_AT_ONCE])
            if not count:
                raise ValueError("its tensors end too early")
            room = room[count:]
    if file.read(1):  # and a compressed file compares its checksum only at its end
        raise ValueError("it goes on after its tensors")
    return found


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a contiguous tensor on the CPU, which lie where it has them."""
    import torch

    return tensor.reshape(-1).view(torch.uint8).numpy().data
