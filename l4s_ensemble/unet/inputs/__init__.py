"""From tiles in memory to the batches that a network sees."""
