"""What each command does: load, one core call, write."""
