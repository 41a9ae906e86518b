"""The command line: parse, call the gallery, print."""
