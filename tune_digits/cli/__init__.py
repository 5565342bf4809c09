"""The commands. Each parses its flags, then walks a straight path through the rooms below."""
