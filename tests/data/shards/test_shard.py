from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from mmvae_bench.data.shards.shard import (
    add_hashes,
    decode,
    encode,
    join_planes,
    label_digests,
    make_passport,
    make_planes,
    pixel_digests,
)

from .squares import Squares


def test_the_pixel_hash_is_the_sum_of_plain_sha256s() -> None:
    recipe = Squares(6)
    total = 0
    for index in range(6):
        pixels = recipe.one(index)[0]
        planes = np.stack([pixels[..., channel] for channel in range(3)])
        total += int(hashlib.sha256(index.to_bytes(8, "little") + planes.tobytes()).hexdigest(), 16)
    found = make_passport(make_planes(recipe, 0, 6), start=0, fingerprint="x").pixel_hash
    assert found == f"{total % 2**256:064x}"


def test_however_it_is_cut() -> None:
    recipe = Squares(9)
    whole = make_passport(make_planes(recipe, 0, 9), start=0, fingerprint="x")
    parts = [make_passport(make_planes(recipe, a, b), start=a, fingerprint="x") for a, b in ((0, 2), (2, 7), (7, 9))]
    assert add_hashes(part.pixel_hash for part in parts) == whole.pixel_hash
    assert add_hashes(part.label_hash for part in parts) == whole.label_hash
    joined = join_planes([make_planes(recipe, a, b) for a, b in ((0, 2), (2, 9))])
    assert make_passport(joined, start=0, fingerprint="x") == whole


def test_every_change_changes_it() -> None:
    planes, numbers = make_planes(Squares(4), 0, 4), range(4)
    pixels, labels = add_hashes(pixel_digests(planes, numbers)), add_hashes(label_digests(planes, numbers))
    other = planes.pixels.copy()
    other[3, 0] ^= 1
    assert add_hashes(pixel_digests(replace(planes, pixels=other), numbers)) != pixels
    swapped = planes.pixels[[1, 0, 2, 3]]
    assert add_hashes(pixel_digests(replace(planes, pixels=swapped), numbers)) != pixels
    assert planes.masks is not None
    changed = [
        replace(planes, concepts=(planes.concepts + 1).astype(np.int16)),
        replace(planes, masks=planes.masks ^ np.uint8(1)),
        replace(planes, columns={**planes.columns, "brightness": planes.columns["brightness"] + 1e-9}),
        replace(planes, columns={**planes.columns, "file": planes.columns["file"][::-1]}),
        replace(planes, columns={}),
    ]
    assert len({labels, *(add_hashes(label_digests(change, numbers)) for change in changed)}) == 6


def test_a_shard_gives_back_what_was_put_in() -> None:
    for num_masks in (0, 1):
        planes = make_planes(Squares(7, num_masks=num_masks), 2, 7)
        passport = make_passport(planes, start=2, fingerprint="x")
        found, read = decode(encode(planes, passport))
        assert read == passport
        assert (found.pixels == planes.pixels).all()
        assert (found.concepts == planes.concepts).all()
        assert (found.masks is None) == (num_masks == 0)
        assert found.masks is None or (found.masks == planes.masks).all()
        assert found.columns.keys() == planes.columns.keys()
        for name, values in planes.columns.items():
            assert found.columns[name].tolist() == values.tolist()
