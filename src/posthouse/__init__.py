"""Posthouse: an instant-messaging service that goes on when any one machine falls over."""

__version__ = "0.1.0"
