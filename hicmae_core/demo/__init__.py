"""The demo corpus: generated talking faces."""
