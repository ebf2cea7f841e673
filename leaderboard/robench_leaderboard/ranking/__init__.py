"""Turn cards into rows and ranked boards."""
