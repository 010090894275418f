"""Settings, merged and checked before anything heavy is imported. Nothing in this room imports torch or Lightning."""
