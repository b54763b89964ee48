"""Anomaly detection without cheating: splits, sequences, thresholds, metrics, and what needs no encoder."""
