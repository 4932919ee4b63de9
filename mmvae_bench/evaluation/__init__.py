"""The questions that a trained model is asked, and how its answers become scores."""
