"""Integrations: Guard inside engines and frameworks, one module for each. See docs/integrations.md."""
