"""Datasets: one file per source; a file whose name starts with an underscore is shared by sources."""
