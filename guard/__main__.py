"""`python -m guard` is the command line."""

from guard.cli.app import main

if __name__ == "__main__":
    main()
