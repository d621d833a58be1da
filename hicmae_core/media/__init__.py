"""Video and audio: decoding, faces, features."""
