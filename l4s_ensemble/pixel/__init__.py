"""The LightGBM pixel classifier."""
