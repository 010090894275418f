"""From texts and conversations to windows of token ids."""
