"""Ledgers and what follows from their sums: groups, comparable runs, published figures."""
