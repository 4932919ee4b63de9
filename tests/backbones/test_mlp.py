"""The fully connected networks: the fixed scales of their p(x|z). What they share with the others is tested there."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Laplace, Normal

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.specs.components import backbones

SCHEMA = Schema((Attribute("digit", tuple("0123")),))


@pytest.mark.parametrize(("name", "kind"), [("normal", Normal), ("laplace", Laplace)])
def test_a_density_of_fixed_scale_by_value(name: str, kind: type[Normal | Laplace]) -> None:
    """log p(x|z) of shades on three channels, around the mean that is the picture, against torch's own density."""
    spec = backbones.parse({"name": "mlp", "hidden": 6, "latent_size": 2, "likelihood": name, "likelihood_scale": 0.3})
    decoder = spec.build(schema=SCHEMA, image_shape=(3, 4, 5)).image_decoder().double().eval()
    z, image = torch.randn(7, 2, dtype=torch.float64), torch.rand(7, 3, 4, 5, dtype=torch.float64)
    px = decoder(z)
    assert px.mean.shape == image.shape
    expected = kind(px.mean, 0.3).log_prob(image).sum((1, 2, 3))
    torch.testing.assert_close(px.log_prob(image), expected, rtol=1e-12, atol=1e-10)
    assert not torch.equal(px.mean[0], px.mean[1])


def test_the_key_of_a_likelihood_without_a_scale_is_as_it_was() -> None:
    assert "likelihood_scale" not in backbones.parse("mlp").canonical()
    with pytest.raises(ConfigError, match="likelihood laplace needs a scale"):
        backbones.parse({"name": "mlp", "likelihood": "laplace"})
    with pytest.raises(ConfigError, match="only applies to likelihood normal or laplace"):
        backbones.parse({"name": "mlp", "likelihood_scale": 0.5})
