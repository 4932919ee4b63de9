from __future__ import annotations

import pytest
import torch

from mmvae_bench.data.sources import SourceError
from mmvae_bench.data.sources import digits as module
from mmvae_bench.data.sources.digits import Digits, MnistSource, ScikitDigitsSource, digit_source, enlarge


@pytest.fixture(scope="module")
def loaded() -> Digits:
    return ScikitDigitsSource().load()


def test_all_digits_in_their_order(loaded: Digits) -> None:
    assert loaded.images.shape == (1797, 28, 28)
    assert loaded.images.dtype == torch.uint8
    assert loaded.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert loaded.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_they_sit_where_those_of_mnist_do(loaded: Digits) -> None:
    ink = loaded.images.double() / 255
    assert ink[:, :3].max() == ink[:, -3:].max() == ink[:, :, :3].max() == ink[:, :, -3:].max() == 0
    pixels = torch.arange(28) + 0.5
    middle = torch.stack([(ink.sum(axis) * pixels).sum(1) / ink.sum((1, 2)) for axis in (1, 2)], 1)
    assert (middle.mean(0) - 14).abs().max() < 0.5
    assert ink.mean().item() == pytest.approx(0.131, abs=0.03)


def test_enlarging_keeps_left_and_up() -> None:
    small = torch.zeros(1, 8, 8, dtype=torch.uint8)
    small[0, 1, 6] = 16
    large = enlarge(small)[0]
    row, column = divmod(int(large.argmax()), 28)
    # The middle of pixel 1 of 8 is at (1 + 1/2) x 20 / 8 + 4.
    assert abs(row + 0.5 - 7.75) <= 1
    assert abs(column + 0.5 - 20.25) <= 1


def test_other_digits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MD5", "0" * 32)
    with pytest.raises(SourceError, match="load_digits has changed"):
        ScikitDigitsSource().load()


def test_sources_by_name() -> None:
    assert isinstance(digit_source("mnist"), MnistSource)
    assert isinstance(digit_source("digits"), ScikitDigitsSource)
    with pytest.raises(ValueError, match="mnist or digits"):
        digit_source("emnist")
