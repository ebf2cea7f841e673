"""What is kept: the store, the card, the meter, and where everything came from."""
