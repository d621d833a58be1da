"""Corpus adapters: each knows how one corpus names its files and labels.

To add a corpus, add a module with a `base.Corpus`, and name it in `registry`. A corpus that can be described by one
CSV file needs no code: use ``csv``.
"""
