"""Structural formats: text around values, described by a structural tag and compiled to a net for the engine."""
