"""Prefect flows that drive the DVC graph."""
