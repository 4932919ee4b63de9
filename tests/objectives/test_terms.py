"""What ``terms()`` may return: anything else is named with its shape before a gradient is taken."""

from __future__ import annotations

import re

import pytest
import torch

from mmvae_bench.objectives.base import Terms, TermsError, checked

EACH = torch.ones(5)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (EACH, "terms() returned Tensor of shape (5,), expected Terms(loss, parts)"),
        (None, "terms() returned NoneType, expected"),
        (
            Terms(EACH, {"image/kl": EACH, "image/log_px": EACH}),
            "the loss has shape (5,) for a batch of 5, like its parts 'image/kl', 'image/log_px': it must be a scalar",
        ),
        (Terms(torch.ones(5, 3), {"kl": EACH}), "the loss has shape (5, 3) for a batch of 5: it must be a scalar"),
        (Terms(1.0, {}), "the loss is a float, expected a tensor"),  # type: ignore[arg-type]
        (
            Terms(EACH.mean(), {"kl": EACH.mean()}),
            "part 'kl' has shape (): a part has one value per example, here (5,)",
        ),
        (Terms(EACH.mean(), {"a": EACH, "kl": torch.ones(5, 4)}), "part 'kl' has shape (5, 4)"),
        (Terms(EACH.mean(), [EACH]), "parts is a list, expected a dict of tensors"),  # type: ignore[arg-type]
        (Terms(EACH.mean(), {}, EACH), "latents is a Tensor, expected a dict"),  # type: ignore[arg-type]
        (Terms(EACH.mean(), {}, {"image": 1}), "latents 'image' is a int, expected"),  # type: ignore[dict-item]
    ],
    ids=[
        *("tensor", "nothing", "unreduced", "of another shape", "number", "reduced part", "part per latent"),
        *("list of parts", "latents alone", "number as latents"),
    ],
)
def test_what_is_no_loss_is_named_with_its_shape(terms: object, message: str) -> None:
    with pytest.raises(TermsError, match=re.escape(message)):
        checked(terms, 5)


def test_a_loss_with_its_parts_is_taken_as_it_is() -> None:
    terms = Terms(EACH.mean(), {"kl": EACH})
    assert checked(terms, 5) is terms
