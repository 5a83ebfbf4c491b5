"""The databases behind the port. Siblings do not know each other; only the composition root and tests name one."""
