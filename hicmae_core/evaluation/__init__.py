"""Metrics, predictions, statistics over folds, figures."""
