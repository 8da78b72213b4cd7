"""`python -m guard` is the command line."""

from guard.cli import main

if __name__ == "__main__":
    main()
