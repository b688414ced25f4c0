"""The tile browser: every scored tile of a split, its layers and the values of its pixels."""
