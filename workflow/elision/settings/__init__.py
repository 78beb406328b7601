"""What a user sets: the params, the protocols, and what they offer."""
