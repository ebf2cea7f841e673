"""What several datasets share, and how they read their files."""
