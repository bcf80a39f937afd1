"""Tables of who and what: ids, checks, splits, and which pairs there are."""
