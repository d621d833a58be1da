"""Commands that edit or vary params.yaml, and print what came out."""
