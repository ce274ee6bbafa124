"""JavaScript: static imports become links, exports are compared with the manifest, and the engine parses the rest."""
