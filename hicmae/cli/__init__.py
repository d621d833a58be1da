"""The console script `hicmae`: what is done with a trained model."""
