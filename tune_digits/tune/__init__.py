"""The room of search and confirmation: which trainings there are, and what is made of them."""
