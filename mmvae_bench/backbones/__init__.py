"""Networks: families that build the encoders and decoders an objective asks for."""
