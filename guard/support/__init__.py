"""Support: small helpers that know nothing of schemas, models or calls."""
