"""The pipeline steps: read files, one call into the library, write files."""

from stages import environment

environment.prepare()
