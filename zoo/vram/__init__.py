"""What a training takes of a GPU's memory, found out without the GPU: the real step, on tensors without content."""
