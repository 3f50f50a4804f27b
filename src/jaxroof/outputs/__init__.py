"""Edges: results → tables, records, figures, files and the terminal."""
