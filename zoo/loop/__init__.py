"""What runs a step, and what is kept of it."""
