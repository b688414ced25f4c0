"""The page of the U-Net."""
