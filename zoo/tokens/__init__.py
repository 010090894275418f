"""From texts and conversations to sequences of token ids."""
