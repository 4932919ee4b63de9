"""What the benchmark relies on of any objective, backbone or dataset, as tests that run in another package:

``pytest --pyargs mmvae_bench.conformance --part NAME``.
"""
