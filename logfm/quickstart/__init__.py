"""The main job from end to end: logs in; a corpus, a tokenizer, an encoder, an index, anomalies and a report out."""
