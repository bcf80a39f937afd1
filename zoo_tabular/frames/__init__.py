"""Frames in, frames and arrays out. No torch here."""
