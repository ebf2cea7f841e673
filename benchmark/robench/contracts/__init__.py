"""What a plugin author meets: the six roles, and the values that they exchange."""
