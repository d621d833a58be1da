"""What a prepared dataset looks like: counts, pictures, and clips that are there twice."""
