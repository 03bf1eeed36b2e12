"""The programs: each parses its arguments, loads the settings, wires and starts."""
