"""Texts as batches."""
