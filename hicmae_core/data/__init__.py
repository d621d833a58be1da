"""Manifests, folds, clip shards, sampling, augmentation."""
