"""Where trainings run: as Ray's tasks and trials, or one after the other in this process."""
