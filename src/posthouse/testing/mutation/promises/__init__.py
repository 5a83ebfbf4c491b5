"""The safeguards of each promise: what each is for, how it is taken out, and who must notice."""
