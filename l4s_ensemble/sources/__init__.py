"""Where patches come from: made up, or fetched."""
