"""From a satellite scene to a map of landslides: raster in, blocks, raster and polygons out."""
