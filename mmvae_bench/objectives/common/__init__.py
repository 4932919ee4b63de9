"""What objectives share: bounds, products of experts, modalities, stages, frozen calls, imputation."""
