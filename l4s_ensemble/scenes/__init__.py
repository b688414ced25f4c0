"""Tile places, folds, neighbourhoods and the area of applicability."""
