"""Who may call: API keys, their scopes and rate limits, secrets from files."""
