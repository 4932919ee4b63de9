"""For any registered backbone, without its name: small settings, and a dataset of images that it takes."""

from mmvae_bench.conformance.worlds import BANDS, BandsData, BandsSpec, networks_of, objectives_on, small, world

__all__ = ["BANDS", "BandsData", "BandsSpec", "networks_of", "objectives_on", "small", "world"]
