"""Find landslides in Sentinel-2 patches, say how sure the answer is, and why."""
