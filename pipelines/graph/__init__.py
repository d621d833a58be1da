"""Reading, writing and recovering DVC's graph."""
