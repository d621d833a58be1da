"""The corpora: a file each, which holds the adapter, classes, folds, counts, published results, licence and citation.

To add a corpus, add one file with a `base.Corpus`, and one line to `registry`, which imports it. A corpus that can be
described by one CSV file needs no code: use ``csv``.
"""
