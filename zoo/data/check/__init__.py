"""Looks at data before training: what would make a good score a false one, and what would waste a fit."""
