"""The page of the features."""
