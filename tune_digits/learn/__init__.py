"""Models and their training in plain PyTorch; knows neither Ray nor the file system."""
