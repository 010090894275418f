"""What is read and kept for every modality."""
