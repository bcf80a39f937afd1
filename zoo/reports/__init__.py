"""Pages that tell of trainings: sections with figures and tables, one HTML file."""
