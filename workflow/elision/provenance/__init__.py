"""What artifacts are made of, where they lie, and whether they are those that the params ask for."""
