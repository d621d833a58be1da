"""What is current, and when it runs: flows, DVC's graph, and commands that edit the project."""

from hicmae import environment

environment.prepare()
