"""Models that decode in this process, under masks: transformers, llama.cpp, and embedded ones."""
