"""Two runs beside each other: what changed, and whether it is a gain on the same tiles."""
