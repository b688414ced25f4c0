"""The stage graph: manifests, skipping, resuming, atomic writes."""
