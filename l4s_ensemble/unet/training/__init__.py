"""Training of one fold: steps, losses, checkpoints, processes."""
