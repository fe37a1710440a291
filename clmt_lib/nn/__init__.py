"""Small modules, one idea each: encoders, message passing, contrast, heads."""
