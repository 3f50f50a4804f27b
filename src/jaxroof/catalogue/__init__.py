"""Names and files → parameters."""
