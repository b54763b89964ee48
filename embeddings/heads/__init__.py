"""Anomaly heads that are not a detector of PyOD over vectors; in all of them a higher score is more abnormal."""
