"""What generators of images are asked for, and how what they make is measured."""
