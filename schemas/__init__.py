"""The front end: JSON Schema, Pydantic models and types become the nodes that the engine works on."""
