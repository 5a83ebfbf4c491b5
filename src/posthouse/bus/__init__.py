"""The bus: hints from node to node, quick and lossy by design. What must not be lost is read from the feed."""
