"""Predictions as pages: a file that explains one video, and a small local web page."""
