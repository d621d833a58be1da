"""Prefect flows that drive the DVC graph."""

from stages import environment

environment.prepare()
