"""JavaScript on V8, in Deno's own binary."""
