"""The command line's first step: `speakerdb`, and `python -m speakerdb` where that script is on no path."""

from speakerdb.cli import interruption


def main() -> None:
    """Run the command line; from its first import on and until Python has ended, a signal leaves no traceback."""
    interruption.until_expected()
    from speakerdb.cli.main import main as run

    try:
        run()
    finally:
        interruption.ignore()


if __name__ == "__main__":
    main()
