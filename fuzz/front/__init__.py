"""Coverage-guided fuzzing of the front end, by atheris (libFuzzer)."""
