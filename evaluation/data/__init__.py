"""Data sets of the suite: where they lie, how they are read, and what an encoder may see of them."""
