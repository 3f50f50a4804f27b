"""How right a loaded server's step time is, and what each of its mechanisms does to that."""
