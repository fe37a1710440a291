"""Label tables: molecules x assays, for probing what a representation knows."""
