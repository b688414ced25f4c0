"""Where patches come from: synthetic, or fetched."""
