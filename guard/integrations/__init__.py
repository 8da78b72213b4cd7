"""Integrations: what Guard is plugged into, engines and frameworks, one module for each. docs/integrations.md."""
