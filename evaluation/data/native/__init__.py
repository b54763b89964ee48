"""One module a family of native layouts."""
