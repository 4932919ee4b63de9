"""The weights of a trained model as safetensors: tensors by name and nothing else, so reading them runs no code.

The format: eight bytes with the length of a header, the header (JSON: name, dtype, shape and place of each tensor, and
texts under ``__metadata__``), and the numbers. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor, nn

from ..base.errors import nearest
from ..base.files import DamagedFile, parse_json, read_bytes, write_atomic
from ..base.printable import printable
from .checkpoint import CheckpointError

_HEADER_BYTES = 2**20
"""Room for the header, which takes some 150 bytes per tensor."""
_SHOWN = 3


def write_weights(network: nn.Module, path: Path, *, key: str) -> None:
    """Writes all parameters and buffers of a network, with the key of its trial."""
    # A copy of each: safetensors refuses tensors that share memory, as tied weights do.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    content = save(tensors, metadata={"format": "pt", "key": key})
    write_atomic(path, lambda file: file.write(content))


def restore_weights(network: nn.Module, path: Path, *, key: str) -> None:
    """Loads into a network what :func:`write_weights` wrote; every tensor must have its name, shape and type.

    Raises:
        DamagedFile: it is no regular file, larger than such weights can be, or not safetensors.
        CheckpointError: the weights are those of another trial, not those of this network, or not finite.
    """
    wanted: dict[str, Tensor] = network.state_dict()
    content = read_bytes(path, at_most=_HEADER_BYTES + sum(tensor.nbytes for tensor in wanted.values()))
    try:
        found: dict[str, Tensor] = load(content)
        length = int.from_bytes(content[:8], "little")
        made_by = (parse_json(content[8 : 8 + length].decode()).get("__metadata__") or {}).get("key")
    except Exception as error:  # whatever a strange header leads to, it is the file's fault
        raise DamagedFile(path, f"not safetensors: {printable(str(error)):.200}") from None
    if made_by != key:
        raise CheckpointError(f"{path} has the weights of trial {printable(repr(made_by)):.40}, not of {key!r}")
    if problems := _differences(wanted, found):
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        lines = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        raise CheckpointError(f"{path} does not fit the networks of its spec:{lines}{more}")
    if broken := [name for name in wanted if not bool(found[name].isfinite().all())]:
        more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        raise CheckpointError(f"{path} has weights that are not finite numbers: {', '.join(broken[:_SHOWN])}{more}")
    network.load_state_dict(found)


def _differences(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    unknown = [name for name in found if name not in wanted]
    lines = []
    for name, tensor in wanted.items():
        if name not in found:
            near = nearest(name, unknown)
            lines.append(f"{name} is missing" + (f"; nearest: {printable(near):.200}" if near else ""))
        elif (found[name].shape, found[name].dtype) != (tensor.shape, tensor.dtype):
            lines.append(f"{name} is {_form(found[name])}, should be {_form(tensor)}")
    return lines + [f"{printable(name):.200} is unknown" for name in unknown]


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
