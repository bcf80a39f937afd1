"""Pictures and their labels as batches."""
