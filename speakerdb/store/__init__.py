"""The gallery's tables in SQLite: the truth that everything else is a view of."""
