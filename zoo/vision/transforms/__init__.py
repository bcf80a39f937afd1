"""From a picture to what a network reads."""
