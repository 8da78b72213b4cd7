"""What the sidecar answers to, a file for each protocol or family of paths."""
