"""Ground floor: clock, backoff, limits, tasks, log. No business noun lives here."""
