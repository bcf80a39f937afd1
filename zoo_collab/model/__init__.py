"""Models that give a pair a number, and the closed forms that fit them."""
