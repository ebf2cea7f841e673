"""The door: hook specifications, discovery of plugins, and the catalog of what they offer."""
