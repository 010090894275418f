"""Settings, merged and checked before anything heavy is imported. Nothing here imports torch or Lightning."""
