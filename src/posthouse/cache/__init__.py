"""Soft state shared by nodes: losing all of it loses no message."""
