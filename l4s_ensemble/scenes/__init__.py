"""Where tiles lie: grids, blocks, folds."""
