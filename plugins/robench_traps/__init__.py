"""Wrong evaluations that the gate must catch, and honest ones that it must not accuse: ``robench traps``.

The components here come in by the public door, like every plugin's, but by no entry point: nobody should be able to
name one in a run by mistake.
"""
