"""The data room: files in, `Task`s and folds out. NumPy arrays only; no PyTorch, no Ray."""
