"""The suite: tasks x encoders, cached and resumable, to one table."""
