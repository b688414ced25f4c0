"""Meta-learners by name, from the simplest: mean, logistic, trees, convolution."""
