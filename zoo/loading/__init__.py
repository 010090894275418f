"""From samples to items, and which of them a step sees."""
