"""Reading and varying recordings."""
