"""What is left of a run, and how it goes on."""
