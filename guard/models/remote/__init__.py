"""Remote models: providers' protocols, and the HTTP that carries them."""
