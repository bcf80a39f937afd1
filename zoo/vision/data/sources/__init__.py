"""Where pictures come from; a room for each place."""
