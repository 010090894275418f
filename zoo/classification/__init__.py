"""What classifiers of every modality share: classes and their names, metrics, and what is written of a test."""
