"""The command line's first step: `speakerdb`, and `python -m speakerdb` where that script is on no path."""

from speakerdb.cli.interruption import until_expected


def main() -> None:
    """Run the command line; from its first import on, Ctrl-C leaves no traceback."""
    until_expected()
    from speakerdb.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
