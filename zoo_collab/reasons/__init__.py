"""What a recommender has learned, and why it answers as it does."""
