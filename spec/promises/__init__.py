"""What is promised, what keeps it, and what was measured: the parts of docs/guarantees.md."""
