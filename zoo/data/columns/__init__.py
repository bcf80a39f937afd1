"""Columns of tables: what kind of values they hold, and how these become codes and numbers. No torch here."""
