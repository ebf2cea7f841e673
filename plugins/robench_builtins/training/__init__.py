"""The one loop that trains, models from scratch and defenses alike, and what it is made of."""
