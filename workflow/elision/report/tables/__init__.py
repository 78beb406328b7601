"""The tables: one file, one table, or one for each kind of corruption of a shape."""
