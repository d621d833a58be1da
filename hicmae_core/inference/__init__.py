"""What trained models say of videos that nobody has prepared."""
