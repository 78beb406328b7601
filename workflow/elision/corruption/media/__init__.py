"""The kinds of corruption of clips: one file, one kind. See ``corruption.medium``."""
