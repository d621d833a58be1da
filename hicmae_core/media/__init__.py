"""Video and sound: decoding, faces, features."""
