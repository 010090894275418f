"""One file per modality: where samples come from."""
