"""Tables that are read piece by piece, from files that need not fit into memory."""
