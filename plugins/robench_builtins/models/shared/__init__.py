"""What several models share, and the networks that they load."""
