"""Check cards against their evidence, and put them into a leaderboard."""
