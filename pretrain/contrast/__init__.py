"""The second stage of pretraining: views of one event come together, other events apart. No labels are needed."""
