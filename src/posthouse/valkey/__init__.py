"""Redis and Valkey servers as the cache and the bus use them: addresses, links, and which server to ask for what."""
