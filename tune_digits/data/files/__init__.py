"""What several readers are made of: tables, image files, the cache of parsed files."""
