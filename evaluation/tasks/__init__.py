"""One module a task: its metadata and how it is run."""
