"""Pictures of tiles and scenes."""
