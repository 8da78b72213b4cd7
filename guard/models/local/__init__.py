"""Models that decode in this process, under masks: transformers, llama.cpp, and those that a package registry has."""
