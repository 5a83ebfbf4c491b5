"""Load balancing for gateways, replicas and AI providers alike. Pure.

Reports become a snapshot (`report`), guards mark who may be chosen (`guards`), a policy decides for one and says why
(`policy`, `classic`, `adaptive`; by name: `named`). Every value is frozen and every state explicit, so that all of it
can be simulated: `bench/balance` does.
"""
