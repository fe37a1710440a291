"""What only the pages of the book need: figures, checks of exercises."""
