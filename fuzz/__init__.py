"""Looking for faults without end: the properties of tests/properties.py on random seeds."""
