"""The buses that the port can stand on."""
