"""The one loop that trains: models from scratch, and defenses."""
