"""What a plugin author meets: the seven roles, and the values that they exchange."""
