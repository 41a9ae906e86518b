"""`python -m speakerdb`: the command line where its script is on no path."""

from speakerdb.cli.main import main

main()
