"""Who is calling: access tokens of users, API keys of back ends, resume tokens of sessions. No I/O."""
