"""The meta-learner on both models' logits."""
