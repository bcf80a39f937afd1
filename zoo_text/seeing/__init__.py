"""Why a text classifier answers as it does."""
