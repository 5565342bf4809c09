"""Statistics of scores: what helps, by how much, and how sure that is. Pure functions of arrays."""
