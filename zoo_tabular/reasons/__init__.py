"""Why a model for tables answers as it does."""
