"""One module a revision of the tables, oldest first."""
