"""Models for others: formats that other programs run, and cards that say what a model is."""
