"""Networks: families that build the encoders and decoders of an objective."""
