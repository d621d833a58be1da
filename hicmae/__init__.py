"""What people import and type once there is a model, and what is remembered of its making."""

from hicmae import environment

environment.prepare()
