"""What several defenses share, and the networks that they put around a victim."""
