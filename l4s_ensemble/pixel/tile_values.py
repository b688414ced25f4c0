"""Names that the tile browser still reads."""

TILE_VALUES_FILE = "tile_values.npz"
STRIDE_PX = 4
TILES_KEPT = 24
