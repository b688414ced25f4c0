"""The page of the pixel classifier."""
