"""What happens to a message: commit, fan-out, sync, receipts, and the readers of the feed."""
