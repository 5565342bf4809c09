"""The room that combines trainings into one answer. vote, pseudo and submission are pure functions."""
