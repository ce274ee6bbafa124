"""The messages of each link between rooms, a file a link. Tags are unique over all links."""
