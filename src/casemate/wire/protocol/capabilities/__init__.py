"""Tables of casemate.toml that grant a capability: a module for each."""
