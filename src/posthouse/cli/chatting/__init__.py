"""The parts of `posthouse chat`: what is shown (pure), the terminal it is shown in, the client behind it."""
