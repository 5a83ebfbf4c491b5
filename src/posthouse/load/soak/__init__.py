"""An hour's traffic on real nodes, and whether what they hold stays as it is."""
