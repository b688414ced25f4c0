"""HTML pages from the summaries and arrays of a run."""
