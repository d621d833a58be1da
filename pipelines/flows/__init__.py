"""Prefect flows that drive the DVC graph: the only folder that imports Prefect."""
