"""What a model gets right and wrong, where it looked, and what is odd about its pictures."""
