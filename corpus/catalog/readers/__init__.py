"""Native layouts of public data sets, one function each: given a copy, which files are logs and how labels join."""
