"""The command line: `guard` and its commands, one file for each family of them; app.py is where it begins."""
