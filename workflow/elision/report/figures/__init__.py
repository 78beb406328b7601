"""The figures: one file, one figure of each dataset, or one for each kind of corruption of a shape."""
