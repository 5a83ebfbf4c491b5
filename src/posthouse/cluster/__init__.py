"""What the nodes know of each other, and which of them does what."""
