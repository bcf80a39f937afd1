"""The training loop and what every training step needs."""
