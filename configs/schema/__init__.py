"""Typed schemas, one file a room."""
