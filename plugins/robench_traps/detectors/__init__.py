"""What other tools say of an evaluation, one tool a file."""
