"""Networks by name: ours, the official one, encoders of a library."""
