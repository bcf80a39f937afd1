"""What a model gives for rows: kept, put in order, ranked, told in the user's terms."""
