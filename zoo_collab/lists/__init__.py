"""Which items stand first for a user, and how good such lists are."""
