"""Edges: files → parameter trees, measurements and studies, checked; every problem is one line."""
