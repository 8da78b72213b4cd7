"""A model's whole turn: its tool format, derived from a chat template; what it says, thinks and calls."""
