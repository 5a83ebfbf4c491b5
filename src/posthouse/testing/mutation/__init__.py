"""What a suite is worth: each safeguard is taken out by a patch, and a simulation or a named test must notice."""
