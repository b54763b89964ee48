"""Readers: one file a format, recognised by content; the registry is the list in `registry.py`."""
