"""How a constant is declared; the trees of constants and shapes."""
