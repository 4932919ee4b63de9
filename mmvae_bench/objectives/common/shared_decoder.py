"""Layers that both decoders begin with, one network for the two (Cremer and Kushman 2018, Sec. 5.1).

Shapes: B batch, D latent dimension.
"""

from __future__ import annotations

from torch import nn

from ...backbones.base import Backbone
from ...backbones.two_object_resnet import ENCODING, SHARED, ResidualLayers, TwoObjectResNetBackbone

NAME = "shared_decoder"
"""The network's name among those of an objective."""


def build_shared_decoder(backbone: Backbone) -> nn.Module:
    """Float[B, D] to Float[B, 200]: five fully connected layers with two residual connections and batch norm.

    They are the published ones whatever the backbone, and as wide as z where z is wider.
    """
    hidden = max(SHARED, backbone.latent_size)
    return nn.Sequential(ResidualLayers(backbone.latent_size, hidden=hidden, num_pairs=2), nn.Linear(hidden, ENCODING))


def behind_shared_decoder(backbone: Backbone) -> Backbone:
    """The family whose decoders read what :func:`build_shared_decoder` returns in the place of z.

    A family whose decoders have such layers of their own, each its own, is built without them.
    """
    wider = backbone.with_latent_size(ENCODING)
    if isinstance(wider, TwoObjectResNetBackbone):
        wider.own_shared_decoder = False
    return wider
