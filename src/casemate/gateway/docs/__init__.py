"""`/openapi.json` and `/docs`: the API's document, and the same as a page for people."""
