"""Processes that tests kill: forked from one that has imported what they need, and has no threads of other tests."""

import multiprocessing
import os
import signal

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.preparation.test_kills", "tests.training.killing"])


class Dying:
    """Stands in for functions that touch files; at the n-th call the process ends as if killed."""

    def __init__(self, calls_left: int) -> None:
        self.calls_left = calls_left

    def __call__(self, function):
        def dying(*args, **kwargs):
            self.calls_left -= 1
            if self.calls_left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return dying
