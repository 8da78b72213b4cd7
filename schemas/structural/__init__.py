"""Structural formats: text around values, as a structural tag says it; how it becomes a net that the engine reads."""
