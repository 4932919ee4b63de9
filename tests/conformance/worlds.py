"""For any registered backbone, without its name: small settings, and a dataset of images that it takes."""

from mmvae_bench.conformance.worlds import (
    BANDS,
    BandsData,
    BandsSpec,
    CountsSpec,
    networks_of,
    objectives_on,
    small,
    world,
    world_of,
)

__all__ = [
    "BANDS",
    "BandsData",
    "BandsSpec",
    "CountsSpec",
    "networks_of",
    "objectives_on",
    "small",
    "world",
    "world_of",
]
