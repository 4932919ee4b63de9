"""Images that a caller gives to a trained model, checked before a network turns them into some answer or other."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDING = 1e-4


def checked_images(image: Tensor, shape: tuple[int, int, int], device: torch.device, *, bounded: bool = True) -> Tensor:
    """The images on the model's device, if they are such as it was trained on.

    Args:
        image: Float[B, C, H, W] in [0, 1].
        shape: (C, H, W) of the model's images.
        device: Where the model is.
        bounded: Whether values outside [0, 1] are refused.

    Raises:
        TypeError: if they are no floating-point tensor.
        ValueError: if they have another shape, or a value is not in [0, 1].
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        what = f"a tensor of {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
        shades = isinstance(image, Tensor) and image.dtype == torch.uint8
        advice = ": divide shades of 0 to 255 by 255" if shades else ""
        raise TypeError(f"images must be a floating-point tensor in [0, 1], got {what}{advice}")
    if image.ndim != 4 or tuple(image.shape[1:]) != tuple(shape):
        wanted, advice = ", ".join(map(str, shape)), ""
        if tuple(image.shape) == tuple(shape):
            advice = ": a single image needs a batch of one, image[None]"
        elif image.ndim == 4 and tuple(image.shape[1:]) == (*shape[1:], shape[0]):
            advice = ": the channel comes first"
        raise ValueError(f"images must be Float[B, {wanted}], got shape {tuple(image.shape)}{advice}")
    if bounded and image.numel():
        low, high = (float(end) for end in torch.aminmax(image))
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # Also nan.
            raise ValueError(f"images must be in [0, 1], got values from {low:.4g} to {high:.4g}")
    return image.to(device)
