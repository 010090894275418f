"""What is known about images and belongs to no task."""
