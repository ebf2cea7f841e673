"""What several built-in models share."""
