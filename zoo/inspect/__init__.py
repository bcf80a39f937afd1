"""Looking into models and training: hooks, summaries, plots."""
