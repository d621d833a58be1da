"""What is remembered of runs: the only folder that imports MLflow."""
