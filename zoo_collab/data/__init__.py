"""Loaders of pairs and their answers."""
