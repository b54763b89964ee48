"""Deduplication: exact by hash, near by MinHash with every candidate verified; views, never the stream."""
