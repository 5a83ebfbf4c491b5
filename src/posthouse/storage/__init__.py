"""Truth: the logs of conversations and accounts, and what is derived in the same transaction.

`base` is the port, `append` the pure planner that every engine shares, `engines/` the databases.
"""
