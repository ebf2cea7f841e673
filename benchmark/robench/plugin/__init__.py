"""The plugin API: hook specifications, discovery of plugins, and the catalog of what they offer."""

#: The environment variable that names plugins to leave out, separated by commas; ``--without`` adds to it.
WITHOUT = "ROBENCH_WITHOUT"
