"""People and items that were not in training: answers for them, and how they are taken in."""
