"""The caches that the port can stand on."""
