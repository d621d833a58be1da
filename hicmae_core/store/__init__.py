"""Manifests and clip stores: what preparation writes and training reads."""
