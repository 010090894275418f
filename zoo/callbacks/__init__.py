"""One concept per file."""
