"""The stages of dvc.yaml, a file each: read files, one call, write files."""

from hicmae import environment

environment.prepare()
