"""Models behind an address: providers' protocols, and the HTTP that carries them."""
