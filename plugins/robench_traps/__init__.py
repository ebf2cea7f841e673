"""Wrong evaluations that the gate must catch, and honest controls that it must not accuse: ``robench traps``.

The components here use the public plugin API, like every plugin's, but have no entry point: nobody should be able to
name one in a run by mistake.
"""
