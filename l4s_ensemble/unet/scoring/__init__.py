"""From a network to the logits of a whole split."""
