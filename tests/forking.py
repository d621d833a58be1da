"""Processes that tests kill: forked from one that has imported what they need, and has no threads of other tests."""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.data.test_kills", "tests.training.killing"])
