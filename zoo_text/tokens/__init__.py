"""From text to token ids. No torch here."""
