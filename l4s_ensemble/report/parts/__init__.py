"""Parts that several pages share: figures, tables and sentences about one topic."""
