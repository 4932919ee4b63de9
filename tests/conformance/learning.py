"""What the conformance tests do to an objective, whatever its networks and its view."""

from mmvae_bench.conformance.learning import assert_gradients_reach_what_is_trained, losses_on

__all__ = ["assert_gradients_reach_what_is_trained", "losses_on"]
