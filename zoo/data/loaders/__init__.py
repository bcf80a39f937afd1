"""How rows become batches, in which order, on which device."""
