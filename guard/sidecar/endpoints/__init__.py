"""The sidecar's endpoints: one file for each protocol or family of paths."""
