"""Losses, optimisation and the two training loops."""
