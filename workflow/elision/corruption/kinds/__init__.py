"""The kinds of corruption: one file, one kind."""
