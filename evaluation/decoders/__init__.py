"""Decoder heads beside what is cheaper: TF-IDF, neighbours, heads on our encoder, rules; on the same splits."""
