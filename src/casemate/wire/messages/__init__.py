"""The messages of each link between rooms, one file for each link. Tags are unique over all links."""
