"""Per-pixel features with units, formulas and sources."""
