"""Encoders for the heads."""

from tests.embeddings.conftest import encoder_folder, letters, ours

__all__ = ["encoder_folder", "letters", "ours"]
