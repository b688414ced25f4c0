"""Bands, sensors, and patches from files to a lossless store."""
