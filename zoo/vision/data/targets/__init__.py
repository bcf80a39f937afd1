"""What a model shall say about a picture, a room for each kind of target."""
