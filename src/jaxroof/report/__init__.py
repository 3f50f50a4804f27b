"""Results → tables, figures and progress on the terminal."""
