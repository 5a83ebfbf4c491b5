"""The nouns of the service as frozen values: ids, entry, conversation, member, cursor. Pure."""
