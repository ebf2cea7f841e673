"""Compare cards, sets of cards, published figures, and the ranks before and after a change."""
