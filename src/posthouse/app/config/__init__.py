"""The configuration: frozen typed values, read from a TOML file < the environment < flags, and shown again as text.

`values` says what there is and what each value brings about, `sources` reads it, `text` writes it.
"""

from posthouse.app.config.sources import ConfigError, Loaded, load
from posthouse.app.config.text import render, sample
from posthouse.app.config.values import App, Config, Key

__all__ = ["App", "Config", "ConfigError", "Key", "Loaded", "load", "render", "sample"]
