"""A model where Python shows it: in one line, and in a notebook."""

from __future__ import annotations

from html import escape

from torch import nn

from ..base.printable import printable
from ..concepts import Schema
from ..specs.components import BackboneSpec


class Shown(nn.Module):
    """What an objective looks like; a network of it, such as ``model.image_encoder``, prints its layers."""

    backbone_spec: BackboneSpec
    image_shape: tuple[int, int, int]
    schema: Schema
    latent_size: int

    def __repr__(self) -> str:
        """One line."""
        shape, names = "x".join(map(str, self.image_shape)), printable(", ".join(self.schema.names))
        networks = f"{_num_weights(self):,} weights of {self.backbone_spec.name}"
        return f"{type(self).__name__}({networks}; images {shape}; {names}; {self.latent_size} latents)"

    def _repr_html_(self) -> str:
        """Its networks and their sizes as a table, for notebooks."""
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(type(network).__name__)}</td><td>{_num_weights(network):,}</td></tr>"
            for name, network in self.named_children()
        )
        return f"<p>{escape(repr(self))}</p><table><tr><th></th><th>network</th><th>weights</th></tr>{rows}</table>"


def _num_weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
