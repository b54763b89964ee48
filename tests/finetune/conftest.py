"""Encoders for the heads."""

from tests.embeddings.conftest import encoder_folder, letters, minilm_folder, ours

__all__ = ["encoder_folder", "letters", "minilm_folder", "ours"]
