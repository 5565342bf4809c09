"""The room that knows Ray: search, confirmation, and trainings side by side."""
