"""HTTP: connections, limits, tokens, bodies, problem details; it knows no route but its documents."""
