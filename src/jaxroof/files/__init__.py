"""The only place that touches the disk: read, check, write; every problem is one line."""
