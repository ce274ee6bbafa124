"""HTTP: connections, limits, tokens, bodies and problem details, whatever the routes are."""
