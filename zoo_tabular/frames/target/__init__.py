"""The target of a table: its values, its classes, the scale on which it is learned. No torch here."""
