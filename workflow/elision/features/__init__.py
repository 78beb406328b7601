"""Features: from clips to sequences."""
