"""What a network learns of a place from its images alone."""
