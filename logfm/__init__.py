"""Security-log foundation models: from raw logs to a pretrained encoder, and the encoder at work."""

__version__ = "0.1.0"
